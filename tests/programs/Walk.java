// Computes in threads, in code compiled at run time, over a heap that is collected, and
// checks itself: java Walk.java PROGRESS-FILE
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;

public class Walk {
	static long walk(int n, int seed) {
		int a = seed;
		double f = 0.5;
		for (int i = 0; i < n; i++) {
			a = (a ^ (a >>> 15)) * 0x2c1b3c6d + i;
			f = f * 1.0000001 + (a & 255) / 1024.0;
			if (f > 1e6)
				f -= 1e6;
		}
		return a * 31L + Double.doubleToLongBits(f);
	}

	static final AtomicReference<String> wrong = new AtomicReference<>();
	static final AtomicLong rounds = new AtomicLong();
	static volatile boolean over;

	static void live(int me, long[] expected, Path beat) throws Exception {
		Map<String, byte[]> objects = new HashMap<>();
		for (int round = 0; !over; round++) {
			int i = (round + me) % expected.length;
			if (walk(20000, i + 1) != expected[i])
				wrong.compareAndSet(null, "walk " + i + " of thread " + me);
			for (int k = 0; k < 200; k++) {
				String key = "key" + (round * 200 + k) % 4000;
				byte[] old = objects.put(key, new byte[64 + k]);
				if (old != null && old.length != 64 + k)
					wrong.compareAndSet(null, key + " of thread " + me);
			}
			long n = rounds.incrementAndGet();
			if (me == 0)
				Files.writeString(beat, String.format("%020d\n", n));
			Thread.sleep(2);
		}
	}

	public static void main(String[] args) throws Exception {
		long[] expected = new long[8];
		for (int i = 0; i < 8; i++)
			expected[i] = walk(20000, i + 1);
		List<Thread> threads = new ArrayList<>();
		for (int t = 0; t < 4; t++) {
			int me = t;
			Thread th = new Thread(() -> {
				try {
					live(me, expected, Path.of(args[0]));
				} catch (Exception e) {
					wrong.compareAndSet(null, e.toString());
				}
			});
			th.start();
			threads.add(th);
		}
		Runtime.getRuntime().addShutdownHook(new Thread(() -> {
			over = true;
			try {
				for (Thread th : threads)
					th.join();
			} catch (InterruptedException e) {
			}
			System.out.println(wrong.get() == null ? "ok java: " + rounds.get() + " rounds" :
				"FAIL java: " + wrong.get());
		}));
	}
}
