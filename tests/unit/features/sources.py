"""Sound sources in six languages, two functions each."""

SOURCES = {
    "python": """import os


def total(items):
    result = 0
    for item in items:
        result += item
    return result


class Cart:
    def add(self, item, count=1):
        if count < 1:
            raise ValueError(count)
        self.items[item] = count
""",
    "javascript": """export function total(items) {
  let result = 0;
  for (const item of items) {
    result += item;
  }
  return result;
}

const add = (cart, item) => {
  if (!item) {
    throw new Error('none');
  }
  cart.push(item);
};
""",
    "typescript": """export function total(items: number[]): number {
  let result = 0;
  for (const item of items) {
    result += item;
  }
  return result;
}

class Cart {
  add(item: string, count = 1): void {
    if (count < 1) {
      throw new Error(item);
    }
  }
}
""",
    "go": """package cart

func Total(items []int) int {
	result := 0
	for _, item := range items {
		result += item
	}
	return result
}

func (c *Cart) Add(item string) error {
	if item == "" {
		return errNone
	}
	c.items = append(c.items, item)
	return nil
}
""",
    "rust": """pub fn total(items: &[i32]) -> i32 {
    let mut result = 0;
    for item in items {
        result += item;
    }
    result
}

impl Cart {
    fn add(&mut self, item: &str) -> bool {
        if item.is_empty() {
            return false;
        }
        true
    }
}
""",
    "java": """class Cart {
    int total(int[] items) {
        int result = 0;
        for (int item : items) {
            result += item;
        }
        return result;
    }

    void add(String item) {
        if (item == null) {
            throw new IllegalArgumentException();
        }
        items.add(item);
    }
}
""",
}
