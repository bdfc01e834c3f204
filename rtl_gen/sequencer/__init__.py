"""Control: dispatch into four queues, semaphores, and the walks of the MAC array."""
