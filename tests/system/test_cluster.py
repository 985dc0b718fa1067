"""Three control planes, four nodes, etcd, Postgres and providers in separate network namespaces."""
import ledgers
from bed import BalancedClient, Bed
from harness import expect, wait_until
from test_faults import expect_no_failure

FIRST = True


def config(fast, slow):
    models = [("strong", "fast", "sim-strong", "2.50", "10.00"), ("weak", "fast", "sim-weak", "0.15", "0.60"),
              ("patient", "slow", "sim-strong", "2.50", "10.00")]
    lines = ["version: 1", "providers:"]
    for name, url in (("fast", fast), ("slow", slow)):
        lines.append('  %s: {type: openai, base_url: "%s/v1", private: true, timeouts: {head: 120s, first_content: '
                     '120s, between_events: 60s}}' % (name, url))
    lines.append("models:")
    for name, provider, upstream, price_in, price_out in models:
        lines.append('  %s: {deployments: [{provider: %s, model: %s}], price: {input: "%s USD",'
                     ' output: "%s USD"}}' % (name, provider, upstream, price_in, price_out))
    lines += ["routes:", "  auto: {policy: default, models: [strong, weak], retries: 1}", "policies:",
              "  default: {type: learned, objective: {quality: 0.95, minimize: cost}, explore: 0.05}", ""]
    return "\n".join(lines)


def restart_everything(bed, drain_s):
    """Each control plane and each node once, one after the other: the next only when the last is back."""
    for i in range(max(bed.control_count, bed.node_count)):
        if i < bed.control_count:
            expect(bed.controls[i].stop() == 0, "a control plane did not end well")
            bed.start_control(bed.controls[i])
        if i < bed.node_count:
            expect(bed.nodes[i].stop(drain_s) == 0, "a node did not end well")
            bed.nodes[i].start()
            bed.wait_ready(bed.nodes[i])


def rolling_restart(rate, stream_s, slow_percent):
    """Streams of `stream_s` seconds begin all the time; every process is replaced meanwhile."""
    with Bed(config, slow_percent=slow_percent) as bed:
        key = bed.make_key()
        # Far longer than it takes; it is told to stop when everything was restarted.
        client = BalancedClient(bed, key, rate, 3600, "patient", stream_share=0.05, timeout_s=4 * stream_s + 60)
        client.start()
        client.wait_sent(rate * 2)
        restart_everything(bed, 2 * stream_s + 60)
        client.wait_sent(rate * 2)
        client.duration_s = 0
        client.join()
        expect_no_failure(client.entries)
        long = [e for e in client.entries if e.stream and e.ended - e.started >= stream_s]
        expect(len(long) >= bed.node_count, "only %d streams were long" % len(long))
        bed.wait_drained()
        wait_until("all rows", lambda: int(bed.postgres.value("SELECT count(*) FROM decision"))
                   >= len(client.entries))
        summary = ledgers.compare(client.entries, bed.provider_entries(), ledgers.read_rows(bed.postgres))
        return "%s; %d streams of %.0f s and more" % (summary, len(long), stream_s)


def test_a_rolling_restart_of_everything_fails_no_request():
    return rolling_restart(rate=40, stream_s=10, slow_percent=6500)


def long_a_rolling_restart_of_everything_under_streams_of_a_minute_fails_no_request():
    return rolling_restart(rate=60, stream_s=60, slow_percent=39000)
