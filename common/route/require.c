#include "common/route/require.h"

#include "common/route/policy.h"

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

bool require_region_valid(struct str region)
{
    if (region.len == 0 || region.len > REQUIRE_REGION_BYTES_MAX || region.data[0] == '-' ||
        region.data[region.len - 1] == '-')
        return false;
    for (size_t i = 0; i < region.len; i++) {
        const char c = lower(region.data[i]);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'))
            return false;
    }
    return true;
}

bool require_admits(struct str wanted, struct str region)
{
    if (wanted.len == 0 || region.len < wanted.len)
        return false;
    for (size_t i = 0; i < wanted.len; i++)
        if (lower(wanted.data[i]) != lower(region.data[i]))
            return false;
    return region.len == wanted.len || region.data[wanted.len] == '-';
}

uint32_t require_lacks(const struct require *q, struct str region, uint32_t data)
{
    uint32_t lacks = (q->data & ~data) != 0 ? POLICY_EXCL(PRIVACY_CLASS) : 0;
    if (q->region_count == 0)
        return lacks;
    for (uint32_t i = 0; i < q->region_count; i++)
        if (require_admits(q->regions[i], region))
            return lacks;
    return lacks | POLICY_EXCL(REGION);
}

uint32_t require_data_terms(uint32_t own, bool provider_collects_nothing)
{
    uint32_t terms = own & (REQUIRE_NOT_COLLECTED | REQUIRE_NOT_KEPT);
    if ((own & REQUIRE_STATED) == 0 && provider_collects_nothing)
        terms |= REQUIRE_NOT_COLLECTED | REQUIRE_NOT_KEPT;
    if ((terms & REQUIRE_NOT_KEPT) != 0) /* Who keeps nothing collects nothing. */
        terms |= REQUIRE_NOT_COLLECTED;
    return terms;
}
