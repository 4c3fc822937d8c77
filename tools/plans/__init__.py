"""The plan: its model, its validation, the calculators' planner, and the policy that answers requests."""
