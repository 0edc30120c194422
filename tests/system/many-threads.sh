# 200 threads.
. "$(dirname "$0")/../tasks.sh"
there_and_back threads 200
