/* An open plugin, and what describing one shares with opening one. */
#include <stdlib.h>

#include "sdk.h"

wm_instance *wm_instance_new(const void *plugin)
{
    wm_instance *instance = calloc(1, sizeof *instance);
    if (instance == NULL) wm_panic("out of memory");
    instance->plugin = plugin;
    wm_keeper = &instance->keeper;
    return instance;
}

void wm_close(wm_instance *instance)
{
    if (wm_keeper == &instance->keeper) wm_keeper = NULL;
    wm_arena_free(&instance->keeper);
    free(instance);
}

bool wm_open_failed(wm_instance *instance)
{
    wm_close(instance);
    return false;
}

/* The plan was made in the memory of the call. */
void wm_instance_ports(wm_instance *instance, const wm_plan *plan)
{
    wm_plan_port *ports = wm_keep(plan->port_count * sizeof *ports);
    for (uint32_t at = 0; at < plan->port_count; at++) {
        ports[at] = plan->ports[at];
        ports[at].columns = wm_keep(ports[at].count * sizeof *ports[at].columns);
        for (uint32_t column = 0; column < ports[at].count; column++) {
            ports[at].columns[column] = plan->ports[at].columns[column];
            ports[at].columns[column].name = wm_keep_text(ports[at].columns[column].name);
        }
    }
    instance->plan = (wm_plan){ .ports = ports, .port_count = plan->port_count };
    instance->hints = wm_keep(plan->port_count * sizeof *instance->hints);
}

void wm_begin_pure(wm_arena *keeper)
{
    wm_silent = true;
    wm_keeper = keeper;
}

bool wm_end_pure(wm_arena *keeper, bool ok)
{
    wm_silent = false;
    wm_keeper = NULL;
    wm_arena_free(keeper);
    return ok;
}
