// Computes in code that node compiles at run time, over a heap full of objects,
// and checks itself: compute.js PROGRESS-FILE
'use strict';
const fs = require('fs');

// The same multiplicative walk in whole numbers and in doubles.
function walk(n, seed) {
	let a = seed | 0, f = 0.5;
	for (let i = 0; i < n; i++) {
		a = Math.imul(a ^ (a >>> 15), 0x2c1b3c6d) + i | 0;
		f = f * 1.0000001 + (a & 255) / 1024;
		if (f > 1e6)
			f -= 1e6;
	}
	return a + ':' + f.toFixed(6);
}

const expected = [];
for (let i = 0; i < 8; i++)
	expected.push(walk(200000, i + 1));

const objects = new Map();
for (let i = 0; i < 100000; i++)
	objects.set('key' + i, { n: i, text: 'value ' + i * 7 });

let rounds = 0, wrong = null;
function round() {
	const i = rounds % 8;
	// A new function now and then, so that there is fresh code on every host.
	const f = rounds % 10 ? walk : eval('(' + walk.toString() + ')');
	if (f(200000, i + 1) !== expected[i])
		wrong = wrong || 'walk ' + i + ' in round ' + rounds;
	for (let k = rounds % 97; k < 100000; k += 97) {
		const o = objects.get('key' + k);
		if (!o || o.n !== k || o.text !== 'value ' + k * 7)
			wrong = wrong || 'object ' + k;
		objects.set('key' + k, { n: k, text: 'value ' + k * 7 });
	}
	rounds++;
	fs.writeFileSync(process.argv[2], String(rounds).padStart(20, '0') + '\n');
}
const timer = setInterval(round, 5);
process.on('SIGTERM', () => {
	clearInterval(timer);
	console.log(wrong ? 'FAIL node: ' + wrong : 'ok node: ' + rounds + ' rounds');
	process.exitCode = wrong ? 1 : 0;
});
