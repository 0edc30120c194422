# A program whose descriptors are others whenever somebody looks.
. "$(dirname "$0")/../tasks.sh"
there_and_back descriptors
