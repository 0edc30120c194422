/* Whose a task is, and who may ask for it. root and the user whom cord runs as may ask for
 * anything; others see and move their own tasks only, and are told of no others. */
#pragma once

#include <cor/error.h>
#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

/* May ask for anything? */
bool owner_is_privileged(uid_t uid);

/* The real user of a process; -ESRCH. */
int owner_of(pid_t pid, uid_t *uid);

/* May uid move process pid? All of its user IDs must be uid's, and it must be one that uid
 * could trace: what has been set-user-ID, or has kept a secret, is not dumpable (prctl(2)).
 * -ESRCH; -EPERM with a sentence. */
int owner_may_move(uid_t uid, pid_t pid, struct cor_error *err);

/* Is that session or task (its "uid") uid's? */
bool owner_sees(uid_t uid, const json_t *what);

/* Takes what uid may not see out of an array. */
void owner_filter(uid_t uid, json_t *array);
