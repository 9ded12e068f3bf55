"""API Gateway: keys, usage plans, stages, deployments, usage and the data plane."""
