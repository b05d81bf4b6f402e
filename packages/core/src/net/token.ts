declare const carried: unique symbol;

/**
 * A name for a value that carries the value's type. Made with `Symbol.for`, so that two copies of this package mean the same thing by it.
 */
export type Token<T> = symbol & { readonly [carried]: T };

export function token<T>(name: string): Token<T> {
  return Symbol.for(`nekit.${name}`) as Token<T>;
}
