/* Schemas and rows in an answer; for worlds with ports. */
static inline void answer_fields(wasmill_plugin_types_list_field_t *answer, const wm_field *fields, uint32_t count)
{
    wm_wire_field *wire = wm_take(count * sizeof *wire);
    for (uint32_t at = 0; at < count; at++) {
        wire[at] = (wm_wire_field){ fields[at].name, wm_field_type_name(&fields[at]), fields[at].nullable };
    }
    answer->ptr = (wasmill_plugin_types_field_t *)(void *)wire;
    answer->len = count;
}

static inline void answer_ports(EXPORT(list_port_t) *answer, const wm_plan *plan)
{
    answer->ptr = wm_take(plan->port_count * sizeof *answer->ptr);
    answer->len = plan->port_count;
    for (uint32_t at = 0; at < plan->port_count; at++) {
        const wm_plan_port *port = &plan->ports[at];
        answer->ptr[at] = (EXPORT(port_t)){ .name = string(port->name), .carry = port->carry };
        answer_fields(&answer->ptr[at].columns, port->columns, port->count);
    }
}

static inline void answer_outputs(EXPORT(list_output_t) *answer, const wm_produced *produced)
{
    answer->ptr = wm_take(produced->output_count * sizeof *answer->ptr);
    answer->len = produced->output_count;
    for (uint32_t at = 0; at < produced->output_count; at++) {
        const wm_output *output = &produced->outputs[at];
        EXPORT(output_t) *to = &answer->ptr[at];
        *to = (EXPORT(output_t)){ .port = output->port, .rows = output->rows };
        if (output->origin == WM_ORIGIN_PARENTS) {
            to->origin.tag = WASMILL_PLUGIN_TYPES_ORIGIN_PARENTS;
            to->origin.val.parents.ptr = (uint32_t *)output->parents;
            to->origin.val.parents.len = output->rows;
        }
        ANSWER_COLUMNS(&to->columns, output->columns, output->width);
    }
}
