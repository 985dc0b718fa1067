#include "common/net/address.h"

#include <string.h>

#include "common/base/buf.h"

#define FILE_BYTES_MAX 4096U

static struct buf buf_over(char *data, size_t bytes)
{
    return (struct buf){.data = data, .cap = bytes, .max = bytes};
}

int address_with_port(const char *address, uint16_t port, char *out, struct err *err)
{
    struct str s = str_from(address);
    struct buf b = buf_over(out, ADDRESS_BYTES_MAX);
    size_t colon = s.len;
    while (colon > 0 && s.data[colon - 1] != ':')
        colon--;
    bool unix_socket = str_starts(s, STR("unix:"));
    int rc = buf_append_str(&b, unix_socket ? s : str_slice(s, 0, colon));
    if (rc == 0 && !unix_socket)
        rc = buf_append_u64(&b, port);
    if (rc == 0)
        rc = buf_append_char(&b, '\0');
    return rc == 0 ? 0 : err_set(err, rc, "address '%s' is too long", address);
}

static int append_entry(struct buf *out, const struct address_entry *e, struct err *err)
{
    char bound[ADDRESS_BYTES_MAX];
    const char *address = e->address;
    int rc = 0;
    if (e->port != 0) {
        rc = address_with_port(address, e->port, bound, err);
        address = bound;
    }
    if (rc != 0)
        return rc;
    rc = buf_printf(out, "\"%s\":\"%s%s\"", e->name, address[0] == ':' ? "127.0.0.1" : "", address);
    return rc == 0 ? 0 : err_set(err, rc, "address '%s' is too long", address);
}

int addresses_write(const char *dir, const struct address_entry *entries, size_t count,
                    struct err *err)
{
    struct buf path, text;
    buf_init(&path, FILE_BYTES_MAX);
    buf_init(&text, FILE_BYTES_MAX);
    int rc = buf_printf(&path, "%s/addresses.json", dir);
    if (rc != 0)
        err_set(err, rc, "--state-dir: '%s' is too long", dir);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = buf_append_char(&text, i == 0 ? '{' : ',');
        if (rc == 0)
            rc = append_entry(&text, &entries[i], err);
    }
    if (rc == 0)
        rc = buf_append(&text, "}\n", 2);
    const char *name = rc == 0 ? buf_cstr(&path) : NULL;
    if (rc == 0)
        rc = name != NULL ? buf_write_file(buf_str(&text), name, 0644, err)
                          : err_set(err, ERR_NOMEM, "out of memory");
    buf_deinit(&path);
    buf_deinit(&text);
    return rc;
}
