# What the module itself needs to know; the parameters of the stack are in variables.tf.

variable "packaged_template" {
  description = "Path of the file that `sam package` wrote (--output-template-file)."
  type        = string
}

variable "artifacts_bucket" {
  description = "The bucket that `sam package` put code and layers into (--s3-bucket), in the Region of the stack."
  type        = string
}

variable "artifacts_prefix" {
  description = "Where in the bucket the template is put."
  type        = string
  default     = "keyjanitor"
}

variable "stack_name" {
  description = "Name of the CloudFormation stack. The names of roles, functions and of the event bus begin with it."
  type        = string
  default     = "keyjanitor"
}

variable "cloudformation_role_arn" {
  description = "A role that CloudFormation makes the resources with; null: with the rights of who runs Terraform."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags of the stack, which CloudFormation puts on every resource that can have some."
  type        = map(string)
  default     = {}
}
