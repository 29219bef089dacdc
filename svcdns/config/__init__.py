"""The configuration: every option said once, where values come from, and what may not be combined.

Standard library only, but for what a single option needs: the supervisor reads this.
"""
