/* aws.h: keys of AWS. As an operator gives them: "ACCESS:SECRET", "ACCESS:SECRET:TOKEN", or the
 * JSON that the aws program and its helpers print (AccessKeyId, SecretAccessKey, SessionToken; in
 * snake_case as well, and inside "Credentials"). As a node keeps them: "ACCESS:SECRET:TOKEN". And
 * those that AWS STS gives for a web identity (AssumeRoleWithWebIdentity, version 2011-06-15).
 * Pure.
 */
#ifndef STEELYARD_DATAPLANE_CREDENTIAL_AWS_H
#define STEELYARD_DATAPLANE_CREDENTIAL_AWS_H

#include "common/base/buf.h"
#include "common/crypto/sigv4.h"

#define AWS_STS_VERSION "2011-06-15"

/* What an operator gave, as it is kept. ERR_INVALID, ERR_TOO_LARGE, ERR_NOMEM. */
int aws_keys_normalize(struct str given, struct buf *out) MUST_CHECK;
/* Slices of a kept text. ERR_INVALID. */
int aws_keys_read(struct str kept, struct sigv4_keys *out) MUST_CHECK;

/* The body of a form. session: of [a-zA-Z0-9=,.@-], 2 to 64. */
int aws_print_assume(struct str role_arn, struct str session, struct str token,
                     struct buf *out) MUST_CHECK;
/* The reply's XML, as it is kept, and the end of its life (Unix seconds). ERR_PROTOCOL. */
int aws_read_assumed(struct str body, struct buf *out, int64_t *out_until_s) MUST_CHECK;
/* <Code> of an error reply; empty: none is there. */
struct str aws_read_error_code(struct str body);
/* "2026-11-21T19:00:00Z", a fraction of the second or not. ERR_INVALID. */
int aws_read_time(struct str text, int64_t *out_s) MUST_CHECK;

/* "https://bedrock-runtime.us-east-1.amazonaws.com" says us-east-1 (so do FIPS, dual-stack and the
 * Chinese names); empty: another host. */
struct str aws_region_of(struct str host);

#endif
