#!/usr/bin/env bash
# A run as an array of Slurm jobs: each runs its part of the shards, and the last step merges them. Nothing but Slurm is needed.
#
#   sbatch --array=1-20 experiments/clusters/slurm.sh "bm25 % 1000 >> bi_encoder % 100" msmarco.run --collection irds:msmarco-passage/dev/small
#   sbatch --dependency=singleton --job-name=pt-cascade --wrap "pt-cascade merge msmarco.run"
#
# A job that is killed, or reaches its time limit, is submitted again with the same line: finished shards are kept. Index and vectors
# must be built before (pt-cascade run ... --dry-run builds them), and the folder must be on a file system that all nodes see and whose
# locks hold (flock: NFS 4, or Lustre mounted with -o flock).
#SBATCH --job-name=pt-cascade
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@60
set -euo pipefail
cascade=$1 out=$2
shift 2
pt-cascade run "$cascade" --out "$out" --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" --threads "$SLURM_CPUS_PER_TASK" "$@" &
run=$!
trap 'kill -TERM $run' TERM # a minute before the time limit, so that the shard in work does not count as failed
wait $run || wait $run # the second one, where the signal ended the first
