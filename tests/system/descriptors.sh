# A program whose descriptors are others whenever somebody looks. It is looked at many times:
# what has changed its number meanwhile is seen once in some tens of them.
. "$(dirname "$0")/../tasks.sh"
to_and_fro 8 descriptors
