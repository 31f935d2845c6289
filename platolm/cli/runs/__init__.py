"""`platolm runs`: what an orchestrator knows of its runs, and how to steer them."""
