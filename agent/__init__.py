"""The face of `tools` towards a model: the planning graph, and what a model may ask for."""
