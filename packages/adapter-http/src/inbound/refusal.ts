import { STATUS_CODES } from 'node:http';
import { NetError, repliesTo } from '@nekit/core';
import { type Fields, formatHead } from '../message/fields.js';

/** Why a client gets no answer from its target, with the status that says so. */
export class RequestRefused extends NetError {
  readonly status: number;
  /** Extra fields for the response. */
  readonly fields: Fields;
  /** The connection cannot go on: where the next request begins is not known. */
  readonly fatal: boolean;

  constructor(status: number, code: string, message: string, options: { readonly fields?: Fields; readonly fatal?: boolean; readonly cause?: unknown } = {}) {
    super(status === 407 ? 'auth' : status === 408 ? 'timeout' : 'protocol', message, { code, cause: options.cause });
    this.status = status;
    this.fields = options.fields ?? [];
    this.fatal = options.fatal ?? false;
  }
}

/** 400, and the connection ends. */
export function badRequest(code: string, message: string): RequestRefused {
  return new RequestRefused(400, code, message, { fatal: true });
}

/** A response that says why, in parts. */
export interface Refusal {
  readonly status: number;
  readonly reason: string;
  readonly fields: Fields;
  readonly body: Buffer;
}

export function refusalOf(error: NetError): Refusal {
  const status = error instanceof RequestRefused ? error.status : error.code === 'LOOP' ? 508 : repliesTo(error).http;
  const reason = STATUS_CODES[status] ?? 'Error';
  const body = Buffer.from(`${status} ${reason}: ${printable(error.message)}\n`);
  const extra = error instanceof RequestRefused ? error.fields : [];
  return {
    status,
    reason,
    body,
    fields: ['Content-Type', 'text/plain; charset=utf-8', 'Content-Length', String(body.length), 'Cache-Control', 'no-store', ...extra],
  };
}

/** The whole response as bytes; the connection ends behind it. */
export function refusalBytes(error: NetError): Buffer {
  const { status, reason, fields, body } = refusalOf(error);
  return Buffer.concat([formatHead(`HTTP/1.1 ${status} ${reason}`, [...fields, 'Connection', 'close']), body]);
}

/** Messages may quote what a peer sent. */
function printable(text: string): string {
  return Array.from(text, (char) => (char < ' ' || char === '\x7f' ? ' ' : char)).join('');
}
