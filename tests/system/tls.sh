# Thread-local storage, rseq and its critical sections.
. "$(dirname "$0")/../tasks.sh"
there_and_back tls
