// The JavaScript client against a started server: create, list, patch, replace with conflict, watch, delete.
// Usage: node typed.mjs URL

import assert from 'node:assert/strict';
import * as k8s from '@kubernetes/client-node';

// Over plain http this client wants to be told that there is no TLS to verify.
const config = new k8s.KubeConfig();
config.loadFromOptions({
  clusters: [{ name: 'svcdns', server: process.argv[2], skipTLSVerify: true }],
  users: [{ name: 'anybody' }],
  contexts: [{ name: 'svcdns', cluster: 'svcdns', user: 'anybody' }],
  currentContext: 'svcdns',
});
const core = config.makeApiClient(k8s.CoreV1Api);
const discovery = config.makeApiClient(k8s.DiscoveryV1Api);
const namespace = 'default';

const seen = [];
let enough;
const watched = new Promise((resolve) => { enough = resolve; });
const watch = new k8s.Watch(config);
const request = await watch.watch('/api/v1/namespaces/default/pods', {}, (type, pod) => {
  seen.push(`${type} ${pod.metadata.name}`);
  if (type === 'DELETED') enough();
}, () => {});

const service = await core.createNamespacedService({ namespace, body: {
  metadata: { name: 'js' },
  spec: { clusterIP: 'None', selector: { app: 'js' }, ports: [{ name: 'http', port: 80 }] },
} });
assert.equal(service.spec.clusterIP, 'None');
await core.createNamespacedPod({ namespace, body: {
  metadata: { name: 'js-1', labels: { app: 'js' } },
  spec: { containers: [{ name: 'c', image: 'i' }] },
  status: { podIP: '10.9.0.1' },
} });
const slices = await discovery.listNamespacedEndpointSlice({ namespace });
assert.deepEqual(slices.items.map((slice) => slice.endpoints[0].addresses), [['10.9.0.1']]);

const stale = await core.readNamespacedService({ namespace, name: 'js' });
await core.replaceNamespacedService({ namespace, name: 'js', body: {
  ...stale, metadata: { ...stale.metadata, labels: { a: 'b' } },
} });
await assert.rejects(
  core.replaceNamespacedService({ namespace, name: 'js', body: stale }),
  (error) => error.code === 409,
);
const unready = { status: { conditions: [{ type: 'Ready', status: 'False' }] } };
await core.patchNamespacedPodStatus(
  { namespace, name: 'js-1', body: unready },
  k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.StrategicMergePatch),
);
const after = await discovery.listNamespacedEndpointSlice({ namespace });
assert.equal(after.items[0].endpoints[0].conditions.ready, false);

await core.deleteNamespacedPod({ namespace, name: 'js-1' });
await core.deleteNamespacedService({ namespace, name: 'js' });
await watched;
assert.deepEqual(seen, ['ADDED js-1', 'MODIFIED js-1', 'DELETED js-1']);
request.abort();
console.log('done');
process.exit(0);
