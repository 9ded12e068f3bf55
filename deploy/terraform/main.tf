# Deploys keyjanitor from the template that `sam package` wrote (docs/terraform.md). Code and layers are in the bucket
# already; this puts the template beside them, and gives it to CloudFormation.

data "aws_s3_bucket" "artifacts" {
  bucket = var.artifacts_bucket
}

# Its name follows from what is in it: another template, so another policy or another release, is an update of the stack.
resource "aws_s3_object" "template" {
  bucket       = data.aws_s3_bucket.artifacts.id
  key          = "${var.artifacts_prefix}/${filesha256(var.packaged_template)}.template"
  source       = var.packaged_template
  content_type = "application/yaml"

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_cloudformation_stack" "keyjanitor" {
  name         = var.stack_name
  template_url = "https://${data.aws_s3_bucket.artifacts.bucket_regional_domain_name}/${aws_s3_object.template.key}"
  parameters   = local.parameters
  tags         = var.tags
  iam_role_arn = var.cloudformation_role_arn

  # It makes roles, and its Transform is AWS SAM's.
  capabilities = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
}
