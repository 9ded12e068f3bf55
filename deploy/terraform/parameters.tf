# Made from template.yaml by `make docs`; do not edit.

locals {
  parameters = {
    Mode                   = var.mode
    NightCallsPerSecond    = tostring(var.night_calls_per_second)
    RequestCallsPerSecond  = tostring(var.request_calls_per_second)
    ReplayWindowHours      = tostring(var.replay_window_hours)
    PullUsageSchedule      = var.pull_usage_schedule
    PullUsageAgainSchedule = var.pull_usage_again_schedule
    ExpireKeysSchedule     = var.expire_keys_schedule
    WatchCapacitySchedule  = var.watch_capacity_schedule
    PublishReportSchedule  = var.publish_report_schedule
    AlertEmail             = var.alert_email
    RunbookAddress         = var.runbook_address
    HttpsForm              = var.https_form
    LogRetentionDays       = tostring(var.log_retention_days)
    HistoryDays            = tostring(var.history_days)
    PermissionsBoundaryArn = var.permissions_boundary_arn
    RolePath               = var.role_path
    Architecture           = var.architecture
    DataKeyArn             = var.data_key_arn
    AccessLogGroups        = join(",", var.access_log_groups)
    SubnetIds              = join(",", var.subnet_ids)
    SecurityGroupIds       = join(",", var.security_group_ids)
    UseFipsEndpoints       = tostring(var.use_fips_endpoints)
    AuditLogDays           = tostring(var.audit_log_days)
    AuditFolderDays        = tostring(var.audit_folder_days)
    AuditLock              = var.audit_lock
    AuditLogPolicyOn       = var.audit_log_policy_on
    RequireTls             = tostring(var.require_tls)
  }
}
