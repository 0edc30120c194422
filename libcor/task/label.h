/* The label by which the kernel's security module (AppArmor, SELinux, Smack) confines a process:
 * /proc/PID/attr/current. Where a task arrives it would have cord's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* The label of the process whose /proc/PID is proc; "" where there is no such module. */
void cor_label_read(int proc, char *out, size_t size);

/* Would a process with that label lose what confines it under ours? */
bool cor_label_confines(const char *label, const char *ours);
