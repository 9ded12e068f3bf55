"""SNS topics, queues that start functions, and rules that write to log groups."""
