"""What a plan's gates would have done over recorded history, before anyone starts.

`report` is what is asked and answered, `streams` deals the history to two arms, `gate` judges many replays together,
`replays` takes them through the plan's stages, `reading` reads the history, `apart` replays in a process of its own,
and `keeping` stores reports.
"""
