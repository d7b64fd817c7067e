"""When things happen: the queue of control jobs, the loops of a worker. The only folder that imports the queue.

Control jobs (prepare a table's load, prune) run on Procrastinate, once across all workers. The data plane (shards,
change streams, label rewrites) is claimed from our own tables with leases and fencing epochs (store.work.leases).
"""
