package model

import "math/rand/v2"

// RandomConfig returns a world of a random shape, larger than those that can be explored
// whole, in which every fault may happen.
func RandomConfig(seed uint64) Config {
	rnd := rand.New(rand.NewPCG(seed, 1))
	cfg := Config{
		Buckets: 1 + rnd.IntN(maxBuckets), Relays: 1 + rnd.IntN(maxRelays), Consumers: rnd.IntN(maxConsumers + 1),
		BatchSize: rnd.IntN(4), MaxAttempts: rnd.IntN(4), Attempts: 1 + rnd.IntN(3),
		FineTime: rnd.IntN(2) == 0, SlowReads: rnd.IntN(2) == 0, OwnNumbers: rnd.IntN(2) == 0,
		Most: map[Kind]int{},
	}
	cfg.Fresh = cfg.BatchSize > 0 && rnd.IntN(3) > 0
	keys := 1 + rnd.IntN(3)
	for range 3 + rnd.IntN(maxTransactions-2) {
		t := Transaction{Key: rnd.IntN(keys + 1), Messages: 1 + rnd.IntN(3)/2, Slow: rnd.IntN(6) == 0}
		t.Bucket = t.Key % cfg.Buckets
		cfg.Transactions = append(cfg.Transactions, t)
	}
	for _, k := range faults {
		cfg.Most[k] = rnd.IntN(3)
	}
	cfg.Most[Tick] = 2 + rnd.IntN(12)
	cfg.Most[Ask] = 10
	return cfg
}
