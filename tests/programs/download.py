# download.py URL BYTES_PER_SECOND: reads it slowly; prints how far it is now and then,
# and at last the digest of what came.
import hashlib
import sys
import time
import urllib.request

CHUNK = 16384
rate = int(sys.argv[2])
digest = hashlib.sha256()
done = 0
start = time.monotonic()
with urllib.request.urlopen(sys.argv[1], timeout=30) as r:
    while True:
        data = r.read(CHUNK)
        if not data:
            break
        digest.update(data)
        done += len(data)
        if done % (CHUNK * 16) == 0:
            print("at", done, flush=True)
        ahead = done / rate - (time.monotonic() - start)
        if ahead > 0:
            time.sleep(ahead)
print("digest", digest.hexdigest(), done, flush=True)
