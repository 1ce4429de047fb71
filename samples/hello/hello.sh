#!/bin/sh
# The smallest useful actor: it answers its message and says what it was given.
echo "Hello from container $(hostname)."
echo "You said: $MSG"
for step in 1 2 3; do
    echo "working, step $step of 3"
    sleep 0.5
done
echo "This was execution $_abaco_execution_id of actor $_abaco_actor_id."
