"""The composition root: ports meet their real or simulated forms here and nowhere else.

`sites` is the only file where paper and live differ; `daemon`, `backtest`, `emergency` and `serve` each put one run together.
"""
