"""What may be said in this system: messages, ids, units, ports, and Kraken's wire forms.

Pure: nothing here waits, reads a clock, opens a file or knows who sends to whom.
"""
