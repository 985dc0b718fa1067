/* config_fixture.h: what tests of steelyard.yaml share. */
#ifndef STEELYARD_TESTS_UNIT_CONTROLPLANE_CONFIG_FIXTURE_H
#define STEELYARD_TESTS_UNIT_CONTROLPLANE_CONFIG_FIXTURE_H

#include "control.pb-c.h"
#include "controlplane/config/config.h"

#define TWO_MODELS                                                                                 \
    "version: 1\n"                                                                                 \
    "providers: {p: {api_key: os.environ/K}}\n"                                                    \
    "models: {a: {deployments: [{provider: p}]}, b: {deployments: [{provider: p}]}}\n"

/* Of a file without mistakes. The caller destroys it. */
struct config *config_fixture_parse(const char *text);
/* What nodes get of it; freed with steelyard__control__v1__catalogue__free_unpacked. */
Steelyard__Control__V1__Catalogue *config_fixture_catalogue(const char *text);

#endif
