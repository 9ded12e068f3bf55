"""The command `keyjanitor`: what a person types to look at a stack and to work it.

    `commands`  one module a group of commands: reads, asks, acts, and hands a view to the console
    `session`   what one call of the command works with: the person's AWS profile, the stack, the console
    `aws`       the one module that talks to CloudFormation, Lambda and CloudWatch Logs
    `console`   the one module that prints and asks
    `views`     what is shown, as values: pure, so tested without AWS
    `shapes`    the values that a view is made of: tables, lines, commands to type
    `errors`    why a command ended without having done its work, and which exit code that is

It imports keyjanitor's `domain` and `adapters`, never its `services`: what changes an account is done by
the stack's functions, with their rights and their checks.
"""
