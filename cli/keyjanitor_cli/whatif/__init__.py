"""What keyjanitor would do: to an account, read by itself or from files, or in the days of a record."""
