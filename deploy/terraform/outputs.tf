# Made from template.yaml by `make docs`; do not edit.

output "version" {
  description = "Which release of keyjanitor this is (CHANGELOG.md)"
  value       = aws_cloudformation_stack.keyjanitor.outputs["Version"]
}

output "request_queue_url" {
  description = "Send requests for keys here"
  value       = aws_cloudformation_stack.keyjanitor.outputs["RequestQueueUrl"]
}

output "request_queue_arn" {
  description = "What a sender's role needs sqs:SendMessage on; its id (RoleId) also belongs into `senders` of policy.toml"
  value       = aws_cloudformation_stack.keyjanitor.outputs["RequestQueueArn"]
}

output "request_dead_letter_queue_url" {
  description = "Messages that are no requests, and requests that failed ten times"
  value       = aws_cloudformation_stack.keyjanitor.outputs["RequestDeadLetterQueueUrl"]
}

output "alert_topic_arn" {
  description = "SNS topic for alerts"
  value       = aws_cloudformation_stack.keyjanitor.outputs["AlertTopicArn"]
}

output "event_bus_name" {
  description = "EventBridge bus with one event for each change to a key, with source keyjanitor"
  value       = aws_cloudformation_stack.keyjanitor.outputs["EventBusName"]
}

output "audit_log_group_name" {
  description = "The same events, kept for 400 days"
  value       = aws_cloudformation_stack.keyjanitor.outputs["AuditLogGroupName"]
}

output "ledger_table_name" {
  description = "The stack's output LedgerTableName"
  value       = aws_cloudformation_stack.keyjanitor.outputs["LedgerTableName"]
}

output "history_bucket_name" {
  description = "Evidence, usage, keys and tombstones"
  value       = aws_cloudformation_stack.keyjanitor.outputs["HistoryBucketName"]
}

output "history_database_name" {
  description = "The tables usage and keys, for Athena; docs/history.md has the queries"
  value       = aws_cloudformation_stack.keyjanitor.outputs["HistoryDatabaseName"]
}

output "sealing_key_arn" {
  description = "What a recipient's role needs kms:Decrypt on"
  value       = aws_cloudformation_stack.keyjanitor.outputs["SealingKeyArn"]
}

output "pull_usage_function_name" {
  description = "The stack's output PullUsageFunctionName"
  value       = aws_cloudformation_stack.keyjanitor.outputs["PullUsageFunctionName"]
}

output "expire_keys_function_name" {
  description = "The stack's output ExpireKeysFunctionName"
  value       = aws_cloudformation_stack.keyjanitor.outputs["ExpireKeysFunctionName"]
}

output "watch_capacity_function_name" {
  description = "The stack's output WatchCapacityFunctionName"
  value       = aws_cloudformation_stack.keyjanitor.outputs["WatchCapacityFunctionName"]
}

output "publish_report_function_name" {
  description = "The stack's output PublishReportFunctionName"
  value       = aws_cloudformation_stack.keyjanitor.outputs["PublishReportFunctionName"]
}

output "provision_keys_function_name" {
  description = "The stack's output ProvisionKeysFunctionName"
  value       = aws_cloudformation_stack.keyjanitor.outputs["ProvisionKeysFunctionName"]
}
