"""keyjanitor: keeps the API keys of an Amazon API Gateway account in order.

Rules (pure, standard library only): `words`, `policy`, `evidence`, `reasons`, `decide`, `plan`,
`event`, `announcements`. Each other module talks to one outside thing; the functions join them.
"""

# The one place of the version; docs/versions.md says what raises which number.
__version__ = "0.2.0"
