#include "common/base/hash.h"
#include "common/base/hash_internal.h"
#include "tests/lib/fault.h"

#include <string.h>

/* Key 00..0f, message 00..(n-1), as the SipHash reference code tests itself. Computed with OpenSSL
 * 3; n = 15 is the example of the paper, appendix A. */
static const uint64_t vectors_2_4[64] = {
    0x726fdb47dd0e0e31U, 0x74f839c593dc67fdU, 0x0d6c8009d9a94f5aU, 0x85676696d7fb7e2dU,
    0xcf2794e0277187b7U, 0x18765564cd99a68dU, 0xcbc9466e58fee3ceU, 0xab0200f58b01d137U,
    0x93f5f5799a932462U, 0x9e0082df0ba9e4b0U, 0x7a5dbbc594ddb9f3U, 0xf4b32f46226bada7U,
    0x751e8fbc860ee5fbU, 0x14ea5627c0843d90U, 0xf723ca908e7af2eeU, 0xa129ca6149be45e5U,
    0x3f2acc7f57c29bdbU, 0x699ae9f52cbe4794U, 0x4bc1b3f0968dd39cU, 0xbb6dc91da77961bdU,
    0xbed65cf21aa2ee98U, 0xd0f2cbb02e3b67c7U, 0x93536795e3a33e88U, 0xa80c038ccd5ccec8U,
    0xb8ad50c6f649af94U, 0xbce192de8a85b8eaU, 0x17d835b85bbb15f3U, 0x2f2e6163076bcfadU,
    0xde4daaaca71dc9a5U, 0xa6a2506687956571U, 0xad87a3535c49ef28U, 0x32d892fad841c342U,
    0x7127512f72f27cceU, 0xa7f32346f95978e3U, 0x12e0b01abb051238U, 0x15e034d40fa197aeU,
    0x314dffbe0815a3b4U, 0x027990f029623981U, 0xcadcd4e59ef40c4dU, 0x9abfd8766a33735cU,
    0x0e3ea96b5304a7d0U, 0xad0c42d6fc585992U, 0x187306c89bc215a9U, 0xd4a60abcf3792b95U,
    0xf935451de4f21df2U, 0xa9538f0419755787U, 0xdb9acddff56ca510U, 0xd06c98cd5c0975ebU,
    0xe612a3cb9ecba951U, 0xc766e62cfcadaf96U, 0xee64435a9752fe72U, 0xa192d576b245165aU,
    0x0a8787bf8ecb74b2U, 0x81b3e73d20b49b6fU, 0x7fa8220ba3b2eceaU, 0x245731c13ca42499U,
    0xb78dbfaf3a8d83bdU, 0xea1ad565322a1a0bU, 0x60e61c23a3795013U, 0x6606d7e446282b93U,
    0x6ca4ecb15c5f91e1U, 0x9f626da15c9625f3U, 0xe51b38608ef25f57U, 0x958a324ceb064572U};

/* The same messages under SipHash-1-3, made with OpenSSL 3 (c-rounds 1, d-rounds 3). */
static const uint64_t vectors_1_3[64] = {
    0xabac0158050fc4dcU, 0xc9f49bf37d57ca93U, 0x82cb9b024dc7d44dU, 0x8bf80ab8e7ddf7fbU,
    0xcf75576088d38328U, 0xdef9d52f49533b67U, 0xc50d2b50c59f22a7U, 0xd3927d989bb11140U,
    0x369095118d299a8eU, 0x25a48eb36c063de4U, 0x79de85ee92ff097fU, 0x70c118c1f94dc352U,
    0x78a384b157b4d9a2U, 0x306f760c1229ffa7U, 0x605aa111c0f95d34U, 0xd320d86d2a519956U,
    0xcc4fdd1a7d908b66U, 0x9cf2689063dbd80cU, 0x8ffc389cb473e63eU, 0xf21f9de58d297d1cU,
    0xc0dc2f46a6cce040U, 0xb992abfe2b45f844U, 0x7ffe7b9ba320872eU, 0x525a0e7fdae6c123U,
    0xf464aeb267349c8cU, 0x45cd5928705b0979U, 0x3a3e35e3ca9913a5U, 0xa91dc74e4ade3b35U,
    0xfb0bed02ef6cd00dU, 0x88d93cb44ab1e1f4U, 0x540f11d643c5e663U, 0x2370dd1f8c21d1bcU,
    0x81157b6c16a7b60dU, 0x4d54b9e57a8ff9bfU, 0x759f12781f2a753eU, 0xcea1a3bebf186b91U,
    0x2cf508d3ada26206U, 0xb6101c2da3c33057U, 0xb3f47496ae3a36a1U, 0x626b57547b108392U,
    0xc1d2363299e41531U, 0x667cc1923f1ad944U, 0x65704ffec8138825U, 0x24f280d1c28949a6U,
    0xc2ca1cedfaf8876bU, 0xc2164bfc9f042196U, 0xa16e9c9368b1d623U, 0x49fb169c8b5114fdU,
    0x9f3143f8df074c46U, 0xc6fdaf2412cc86b3U, 0x7eaf49d10a52098fU, 0x1cf313559d292f9aU,
    0xc44a30dda2f41f12U, 0x36fae98943a71ed0U, 0x318fb34c73f0bce6U, 0xa27abf3670a7e980U,
    0xb4bcc0db243c6d75U, 0x23f8d852fdb71513U, 0x8f035f4da67d8a08U, 0xd89cd0e5b7e8f148U,
    0xf6f4e6bcf7a644eeU, 0xaec59ad80f1837f2U, 0xc3b2f6154b6694e0U, 0x9d199062b7bbb3a8U};

static struct siphash_key reference_key(void)
{
    uint8_t bytes[16];
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    return siphash_key_from_bytes(bytes);
}

static void siphash_gives_the_published_values(void **state)
{
    (void)state;
    uint8_t message[64];
    for (unsigned n = 0; n < 64; n++) {
        message[n] = (uint8_t)n;
        assert_int_equal(siphash_2_4(reference_key(), message, n), vectors_2_4[n]);
        assert_int_equal(siphash_1_3(reference_key(), message, n), vectors_1_3[n]);
    }
}

static void all_ways_to_the_sums_of_a_text_agree(void **state)
{
    (void)state;
    struct hash_text_key key;
    uint8_t chunk[HASH_TEXT_CHUNK_BYTES], filled[HASH_TEXT_CHUNK_BYTES] = {0};
    hash_text_key_init(&key, reference_key());
    for (size_t i = 0; i < sizeof chunk; i++)
        chunk[i] = (uint8_t)(i * i * 31 + (i >> 3) * 7);
    for (size_t len = 0; len <= sizeof chunk; len++) {
        uint64_t expected[2], sums[2];
        memcpy(filled, chunk, len);
        hash_nh_of(HASH_WAY_SCALAR)(key.nh, filled, (len + 31) / 32 * 32, expected);
        hash_nh_of(HASH_WAY_SCALAR)(key.nh, chunk, len, sums);
        assert_memory_equal(sums, expected, sizeof sums);
        for (int way = HASH_WAY_SSE2; way < HASH_WAYS; way++) {
            if (hash_nh_of((enum hash_way)way) == NULL)
                continue;
            hash_nh_of((enum hash_way)way)(key.nh, chunk, len, sums);
            assert_memory_equal(sums, expected, sizeof sums);
        }
    }
}

/* Written down once: a node of another version or machine must say the same of the same text. */
static void texts_keep_their_hash(void **state)
{
    (void)state;
    struct hash_text_key key;
    char text[3000];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('a' + i % 23);
    hash_text_key_init(&key, reference_key());
    static const struct {
        size_t len;
        uint64_t hash;
    } known[] = {{0, 0xb1e01fb7ca109c53U},    {1, 0x52ba0be072f4369eU},
                 {31, 0x9cbd0bdd050199e6U},   {32, 0xf584948f88116039U},
                 {33, 0xfd1c48e01061e12dU},   {1024, 0x36ef98ab29b6e797U},
                 {1025, 0x5f92e580b6373238U}, {3000, 0xabbfdea71aa629e1U}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        assert_int_equal(hash_text(&key, text, known[i].len), known[i].hash);
}

static void every_byte_of_a_text_and_its_length_count(void **state)
{
    (void)state;
    struct hash_text_key key;
    char text[2100] = {0};
    hash_text_key_init(&key, reference_key());
    const uint64_t zeros = hash_text(&key, text, sizeof text);
    uint64_t before = 0;
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = 1;
        assert_int_not_equal(hash_text(&key, text, sizeof text), zeros);
        text[i] = 0;
        assert_int_not_equal(hash_text(&key, text, i), before); /* Zeros, one more each time. */
        before = hash_text(&key, text, i);
    }
    struct hash_text_key other;
    hash_text_key_init(&other, (struct siphash_key){1, 2});
    assert_int_not_equal(hash_text(&other, text, sizeof text), zeros);
}

static void crc32c_gives_the_values_of_rfc_3720(void **state)
{
    (void)state;
    uint8_t block[32];
    memset(block, 0, sizeof block);
    assert_int_equal(crc32c(0, block, sizeof block), 0x8A9136AA);
    memset(block, 0xFF, sizeof block);
    assert_int_equal(crc32c(0, block, sizeof block), 0x62A8AB43);
    for (unsigned i = 0; i < sizeof block; i++)
        block[i] = (uint8_t)i;
    assert_int_equal(crc32c(0, block, sizeof block), 0x46DD794E);
    assert_int_equal(crc32c(0, "123456789", 9), 0xE3069283);
    assert_int_equal(crc32c(0, NULL, 0), 0);
}

static void all_ways_to_a_crc_agree_and_can_be_continued(void **state)
{
    (void)state;
    uint8_t data[1300]; /* Three chunks of the three lanes, five of the four registers. */
    uint64_t state_of_data = 88172645463325252U;
    for (unsigned i = 0; i < sizeof data; i++) {
        state_of_data ^= state_of_data << 13;
        state_of_data ^= state_of_data >> 7;
        state_of_data ^= state_of_data << 17;
        data[i] = (uint8_t)(state_of_data >> 32);
    }
    for (size_t len = 0; len <= sizeof data; len++) {
        uint32_t whole = hash_crc32c_table(7, data, len);
        assert_int_equal(crc32c(crc32c(7, data, len / 3), data + len / 3, len - len / 3), whole);
#if defined(__x86_64__)
        if (hash_crc32c_has_sse42())
            assert_int_equal(hash_crc32c_sse42(7, data, len), whole);
        if (hash_crc32c_has_pclmul())
            assert_int_equal(hash_crc32c_pclmul(7, data, len), whole);
        if (hash_crc32c_has_avx512()) {
            assert_int_equal(hash_crc32c_avx512(7, data, len), whole);
            assert_int_equal(hash_crc32c_avx512(~7U, data, len), hash_crc32c_table(~7U, data, len));
        }
#endif
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(siphash_gives_the_published_values),
        cmocka_unit_test(all_ways_to_the_sums_of_a_text_agree),
        cmocka_unit_test(texts_keep_their_hash),
        cmocka_unit_test(every_byte_of_a_text_and_its_length_count),
        cmocka_unit_test(crc32c_gives_the_values_of_rfc_3720),
        cmocka_unit_test(all_ways_to_a_crc_agree_and_can_be_continued),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
