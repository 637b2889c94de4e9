/* World `sink-plugin`. */
#include "../bindings/sink_plugin.h"
#define WORLD sink
#include "sink.h"
