"""CloudWatch: metrics from logs and services, metric math and alarms."""
