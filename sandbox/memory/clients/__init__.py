"""In the place of boto3's clients: the adapters themselves run on them, as they do on moto's."""
