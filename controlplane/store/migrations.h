/* migrations.h: the table that embed.cmake makes of migrations/. Private to migrate.c. */
#ifndef STEELYARD_CONTROLPLANE_STORE_MIGRATIONS_H
#define STEELYARD_CONTROLPLANE_STORE_MIGRATIONS_H

struct migration {
    int version; /* Ascending; 0 ends the table. */
    const char *name;
    const char *sql;
};
extern const struct migration migrations[];

#endif
