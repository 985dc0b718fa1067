/* steelyard-admin-reference: the matrix of the admin API (route, role, fields) from its table, for
 * docs/generate. */
#include <stdio.h>

#include "controlplane/admin/admin.h"

static const char *const roles[] = {"none", "viewer", "operator", "admin"};

int main(void)
{
    struct admin_route_facts route;
    printf("# The admin API: who may call what\n\nGenerated from the table in "
           "`controlplane/admin/routes.c`; edit the table. A role may call what a lesser one may. "
           "*Bound* says whether a credential that belongs to a team, an organisation or a user may "
           "call it: it then sees and changes nothing else. A body with a field that is not listed "
           "is refused; fields of LiteLLM's calls that have no meaning here are listed and refused "
           "unless they are empty.\n\n| call | role | bound | fields |\n|---|---|---|---|\n");
    for (size_t i = 0; admin_route_at(i, &route); i++) {
        printf("| `%s %s%s` | %s | %s |", route.method, route.prefix, route.pattern,
               roles[route.role], route.scoped ? "yes" : "no");
        for (size_t k = 0; route.fields != NULL && route.fields[k] != NULL; k++)
            printf("%s`%s`", k == 0 ? " " : ", ", route.fields[k]);
        printf(" |\n");
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
