"""keyjanitor: keeps the API keys of an Amazon API Gateway account in order.

Four layers, each of which imports only from those below it (import-linter holds this):

`services`  what each function does, with effects: gather, decide, check, apply
    `pull_usage`       reads the use of every key, and writes down the usage reading of a night
    `expire_keys`      one sweep: warns, disables, parks and purges keys, within its allowance
    `provision_keys`   one batch of key requests from the queue: issues, rotates, revokes, restores
    `watch_capacity`   counts keys, and alerts as the limit comes near
    `publish_report`   the morning's report, and what is wrong with the account
    shared by more than one: `restore`, `claims`, `account`, `deadline`, `lease`
`adapters`  one module for each thing outside; boto3 is imported here only
    `api_gateway`, `ownership`, `history_bucket`, `kms`, `event_bus`, `alert_topic`, `request_queue`,
    `dead_letters`, and the ledger's: `ledger`, `request_store`, `alert_store` on `dynamodb`;
    `wiring` makes them from a function's settings
`domain`    rules, values and texts; pure: no clock, no network, no environment
    `report`    the report's document and page
    `doctor`    what is wrong with an account, and the command that fixes it
    `requests`  what may be asked for, by whom, and how it is answered
    `expiry`    which key is warned, disabled, parked or purged, and why
    `capacity`  how many keys there are, when the limit is reached, who is alerted
    `usage`     what the usage reading of a night proves
    `model`     keys, usage plans, records and the policy
`errors`    every error that keyjanitor raises
"""

# The one place of the version; docs/versions.md says what raises which number.
__version__ = "0.2.0"
