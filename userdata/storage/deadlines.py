"""Every time limit between a request and the database, in seconds.

A caller is answered within `ANSWER`, whatever the database does. A write of which a failure was told is not made
later: it has to begin on the server a whole `STATEMENT` before its caller is told.
"""

ANSWER = 3.0  # promised to callers
REQUEST = 2.8  # from asking the store on, when the caller is told in any case

QUEUE = 0.7  # until a batch takes the item along; afterwards it is given up, and not written
CONNECTION = 0.4  # until the pool has a connection to lend
RESPONSE = 1.7  # until the server has answered; for a server that no longer does anything
assert QUEUE + CONNECTION + RESPONSE <= REQUEST < ANSWER

STATEMENT = 1.0  # after which the server itself ends a statement (statement_timeout)
LOCK = 0.2  # after which the server ends a statement that waits for another's lock (lock_timeout)
ARRIVAL = RESPONSE - STATEMENT  # for a statement to get to the server, and the two clocks to differ
assert LOCK < STATEMENT < RESPONSE
assert ARRIVAL >= 0.6

# In the background, where no request waits.
CONNECT = 2.0  # for one host of DATABASE_URL (connect_timeout)
CANCEL = 0.5  # until the server has ended a statement that was cancelled; then its connection is closed
RECONNECT = 0.5  # until a failed attempt to connect is repeated once; the next request begins another

STUCK = 0.02  # a batch that takes longer, as on a locked row, has another one begin beside it
LOCKED = 1.0  # for which a place that was found locked is kept out of the others' batches
