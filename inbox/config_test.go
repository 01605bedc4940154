package inbox

import "testing"

// Each worker has a batch that it applies and one that waits, as far as AMQP can
// count.
func TestConsumerPrefetchDefault(t *testing.T) {
	for _, c := range []struct {
		set  ConsumerConfig
		want int
	}{
		{ConsumerConfig{}, 800},
		{ConsumerConfig{Workers: 1}, 200},
		{ConsumerConfig{BatchSize: 1}, 16},
		{ConsumerConfig{BatchSize: maxBatch}, 65_535},
		{ConsumerConfig{BatchSize: 10, Prefetch: 7}, 7},
	} {
		filled, err := c.set.withDefaults()
		if err != nil || filled.Prefetch != c.want {
			t.Errorf("%d workers, batches of %d: prefetch %d, error %v; want %d", filled.Workers, filled.BatchSize, filled.Prefetch, err, c.want)
		}
	}
}
