# short
# General, x87, SSE, AVX and AVX-512 registers of threads that compute.
. "$(dirname "$0")/../tasks.sh"
there_and_back registers
