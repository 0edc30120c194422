/* A directory of this machine as a home, and the same seen through the file system that
 * tasks elsewhere have it by (libcor/names/home/home.h), over loopback TCP. */
#pragma once

struct home_rig;

/* path: a fresh directory at home; far: where it is seen, in a mount namespace that the
 * caller is in from then on. Ends the program with a message where it cannot. */
struct home_rig *home_rig_start(const char *dir, char path[256], char far[256]);
void home_rig_end(struct home_rig *r);
