# short
# A program that maps, unmaps, moves, advises memory and forks all the while.
. "$(dirname "$0")/../tasks.sh"
there_and_back churn
