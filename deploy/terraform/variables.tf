# Made from template.yaml by `make docs`; do not edit.

variable "mode" {
  description = "How far a sweep may go. observe reports what would happen and changes no key; disable warns and disables; park also deletes disabled keys, each sealed first so that it can come back. Whatever is set here, a sweep only observes while the alert topic has no confirmed subscription."
  type        = string
  default     = "observe"

  validation {
    condition     = contains(["observe", "disable", "park"], var.mode)
    error_message = "The value of mode must be one of observe, disable, park."
  }
}

variable "night_calls_per_second" {
  description = "Calls a second on API Gateway by all scheduled functions together: those that are at work at once divide them. AWS allows 10 to the whole account, deploys included."
  type        = number
  default     = 3

  validation {
    condition     = var.night_calls_per_second >= 0.1
    error_message = "The value of night_calls_per_second must be 0.1 or more."
  }
}

variable "request_calls_per_second" {
  description = "Calls a second on API Gateway by all copies of ProvisionKeysFunction together."
  type        = number
  default     = 2

  validation {
    condition     = var.request_calls_per_second >= 0.1
    error_message = "The value of request_calls_per_second must be 0.1 or more."
  }
}

variable "replay_window_hours" {
  description = "An event whose time is further from the real one may only observe. 0 lifts it, for simulation."
  type        = number
  default     = 36

  validation {
    condition     = var.replay_window_hours >= 0
    error_message = "The value of replay_window_hours must be 0 or more."
  }
}

variable "pull_usage_schedule" {
  description = "When usage is read, in UTC. Usage lags by up to 40 minutes, so leave the day that much time to end."
  type        = string
  default     = "cron(15 2 * * ? *)"
}

variable "pull_usage_again_schedule" {
  description = "When a reading that did not end in one run of 15 minutes (over some 1,300 usage plans, or 600,000 keys in plans), or that failed, goes on, in UTC; away from the sweeps and counts. On a date that was read it ends at once."
  type        = string
  default     = "cron(0,45 3-4 * * ? *)"
}

variable "expire_keys_schedule" {
  description = "When keys are swept, in UTC. Three times a night; a later run finishes what an earlier one left over, and answers at once if that is nothing."
  type        = string
  default     = "cron(15 3-5 * * ? *)"
}

variable "watch_capacity_schedule" {
  description = "When keys are counted, in UTC. Every hour, at a minute at which neither function of the night starts or works."
  type        = string
  default     = "cron(40 * * * ? *)"
}

variable "publish_report_schedule" {
  description = "When the report is published, in UTC. After the night's last sweep."
  type        = string
  default     = "cron(15 6 * * ? *)"
}

variable "alert_email" {
  description = "Who gets alerts by e-mail, after confirming the message that SNS sends. Empty subscribes no address."
  type        = string
  default     = ""
}

variable "runbook_address" {
  description = "Where your team keeps its copy of docs/runbook.md, such as https://wiki.example.org/keyjanitor-runbook. Alerts link to it, with the part behind a #. Empty names the file alone."
  type        = string
  default     = ""
}

variable "https_form" {
  description = "What an https subscription of the alert topic gets. json is for programs (docs/schemas/alert.json); chat is what Amazon Q Developer in chat applications shows in Slack, Microsoft Teams and Amazon Chime."
  type        = string
  default     = "json"

  validation {
    condition     = contains(["json", "chat"], var.https_form)
    error_message = "The value of https_form must be one of json, chat."
  }
}

variable "log_retention_days" {
  description = "How long logs are kept."
  type        = number
  default     = 90

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "The value of log_retention_days must be one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653."
  }
}

variable "history_days" {
  description = "How long usage, keys and reports are kept, with the names and owners in them. Evidence is kept for 400 days whatever is said here, for that is how far back a night looks for the one before; tombstones until their keys are purged."
  type        = number
  default     = 400

  validation {
    condition     = var.history_days >= 30
    error_message = "The value of history_days must be 30 or more."
  }
}

variable "permissions_boundary_arn" {
  description = "A managed policy that bounds every role of this stack, where an account asks for one. Empty for none."
  type        = string
  default     = ""
}

variable "role_path" {
  description = "The path of every role of this stack, such as /teams/platform/, where an account asks for one. Their names begin with the name of the stack."
  type        = string
  default     = "/"

  validation {
    condition     = can(regex("^/([!-.0-~]+/)*$", var.role_path))
    error_message = "The value of role_path must be such that it fits ^/([!-.0-~]+/)*$."
  }
}

variable "architecture" {
  description = "What the functions run on. arm64 costs less; x86_64 is there in every Region."
  type        = string
  default     = "arm64"

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "The value of architecture must be one of arm64, x86_64."
  }
}

variable "data_key_arn" {
  description = "A KMS key of your own for bucket, ledger, logs and queues; docs/landing-zone.md has what its policy must allow. Empty encrypts with keys of AWS. The values of API keys are sealed with a key of this stack either way."
  type        = string
  default     = ""
}

variable "access_log_groups" {
  description = "ARNs, separated by commas, of the log groups that PullUsageFunction may ask which keys called, each with a * at the end (docs/access-logs.md has one). It asks where policy.toml says access_logs = true. Empty gives it no such right."
  type        = list(string)
  default     = []
}

variable "subnet_ids" {
  description = "Subnets, separated by commas, to run the functions in, together with SecurityGroupIds. They need a way to the services that docs/landing-zone.md lists. Empty runs them outside of any VPC."
  type        = list(string)
  default     = []
}

variable "security_group_ids" {
  description = "Security groups, separated by commas, of the functions in SubnetIds."
  type        = list(string)
  default     = []
}

variable "use_fips_endpoints" {
  description = "Whether the functions call the FIPS endpoints of AWS. Every service has one in the Regions of the USA only."
  type        = bool
  default     = false
}

variable "audit_log_days" {
  description = "How long the audit log keeps every event of keyjanitor."
  type        = number
  default     = 400

  validation {
    condition     = contains([90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.audit_log_days)
    error_message = "The value of audit_log_days must be one of 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653."
  }
}

variable "audit_folder_days" {
  description = "How long the folders audit/YYYY-MM/ of the history bucket are kept. They hold names and owners."
  type        = number
  default     = 400

  validation {
    condition     = var.audit_folder_days >= 31
    error_message = "The value of audit_folder_days must be 31 or more."
  }
}

variable "audit_lock" {
  description = "A mode of S3 Object Lock under which the files of these folders are kept for AuditFolderDays. First switch Object Lock on for the history bucket, which is for good (docs/audit.md); without it no folder is written."
  type        = string
  default     = "none"

  validation {
    condition     = contains(["none", "governance", "compliance"], var.audit_lock)
    error_message = "The value of audit_lock must be one of none, governance, compliance."
  }
}

variable "audit_log_policy_on" {
  description = "Where EventBridge is let into the audit log. An account has room for ten such policies in a Region; if they are taken, log-group puts it on the audit log itself."
  type        = string
  default     = "account"

  validation {
    condition     = contains(["account", "log-group"], var.audit_log_policy_on)
    error_message = "The value of audit_log_policy_on must be one of account, log-group."
  }
}

variable "require_tls" {
  description = "Whether bucket, queues and topic refuse requests without TLS. false only for a sandbox on plain http."
  type        = bool
  default     = true
}
