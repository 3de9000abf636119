/* SPDX-License-Identifier: ISC */
/*
 * What providers really say, each reply as chat.c joins its lines, at the stage
 * at which it is said: what it comes to, for whom, after which pause, what may
 * be done at once, and that a person gets a hint. Then the replies that look
 * like these and mean what their code says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "catalogue.h"
#include "reply.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define SECONDS(n) (INT64_C(1000) * (n))
#define MINUTES(n) SECONDS(60 * (n))
#define HOURS(n) MINUTES(60 * (n))

struct known_case {
	enum stage stage;
	int code;
	enum outcome outcome;
	enum scope scope;
	int64_t pause, pause_max;
	enum advice advice;
	const char *text;
};

/* The numbers are those of the list of replies that this began with. */
static const struct known_case known_cases[] = {
	/* 1 */
	{STAGE_HELLO, 421, LATER, SCOPE_UPSTREAM, .text =
	    "4.7.0 Try again later, closing connection. (EHLO) "
	    "4fb4d7f45d1cf-5c3b6c6d8a5sm1234567a12.34 - gsmtp"},
	{STAGE_HELLO, 501, HOLD, SCOPE_UPSTREAM, .pause = HOURS(1), .text =
	    "5.5.4 HELO/EHLO argument \"localhost\" invalid, closing "
	    "connection. - gsmtp"},
	/* 2 */
	{STAGE_MAIL, 550, HOLD, SCOPE_SENDER, .pause = HOURS(1), .text =
	    "5.7.1 Invalid credentials for relay [192.0.2.1]. The IP address "
	    "you've 5.7.1 registered in your Workspace SMTP Relay service "
	    "doesn't match the 5.7.1 domain of the account this email is "
	    "being sent from. If you are 5.7.1 trying to relay mail from a "
	    "domain that isn't registered under your 5.7.1 Workspace account "
	    "or has empty envelope-from, you must configure"},
	{STAGE_RCPT, 550, HOLD, SCOPE_SENDER, .pause = HOURS(1), .text =
	    "5.7.1 Invalid credentials 5.7.1 for relay [192.0.2.1]."},
	/* 3 */
	{STAGE_RCPT, 550, HOLD, SCOPE_SENDER, .pause = HOURS(1), .text =
	    "5.7.0 Mail relay denied [192.0.2.1]. Invalid credentials for "
	    "relay for one of the domains in: example.com (in the "
	    "HELO/EHLO/MAIL-from)"},
	{STAGE_RCPT, 550, HOLD, SCOPE_SENDER, .pause = HOURS(1), .text =
	    "5.7.0 Mail relay denied [2001:db8::1]. For more 5.7.0 "
	    "information go to "
	    "https://support.google.com/a/answer/6140680#maildenied - gsmtp"},
	/* 4 */
	{STAGE_RCPT, 550, HOLD, SCOPE_UPSTREAM, .pause = HOURS(1),
	    .pause_max = HOURS(4), .text =
	    "5.4.5 Daily SMTP relay limit exceeded for user. For more "
	    "information on 5.4.5 SMTP relay sending limits please contact "
	    "your administrator or visit"},
	{STAGE_END, 550, HOLD, SCOPE_UPSTREAM, .pause = HOURS(1),
	    .pause_max = HOURS(4), .text =
	    "5.4.5 Daily user sending limit exceeded. For more information on "
	    "Gmail 5.4.5 sending limits go to 5.4.5 "
	    "https://support.google.com/a/answer/166852 - gsmtp"},
	/* 5 */
	{STAGE_RCPT, 550, HOLD, SCOPE_UPSTREAM, .pause = HOURS(1), .text =
	    "5.7.1 Daily SMTP relay limit exceeded for customer. For more "
	    "information on 5.7.1 SMTP relay sending limits please contact "
	    "your administrator"},
	/* 6 */
	{STAGE_RCPT, 450, LATER, SCOPE_UPSTREAM, .pause = MINUTES(10), .text =
	    "4.2.1 Peak SMTP relay limit exceeded for customer. This is a "
	    "temporary 4.2.1 error."},
	/* 7 */
	{STAGE_RCPT, 452, LATER, SCOPE_RECIPIENT, .advice = ADVICE_SPLIT,
	    .text =
	    "4.5.3 Your message has too many recipients. For more information "
	    "regarding 4.5.3 Google's sending limits, please visit 4.5.3 "
	    "https://support.google.com/mail/answer/6592"},
	{STAGE_RCPT, 452, LATER, SCOPE_RECIPIENT, .advice = ADVICE_SPLIT,
	    .text =
	    "4.5.3 Domain policy size per transaction exceeded, please try "
	    "this 4.5.3 recipient in a separate transaction."},
	{STAGE_RCPT, 451, LATER, SCOPE_RECIPIENT, .advice = ADVICE_SPLIT,
	    .text =
	    "4.3.0 Please try this recipient in a separate transaction."},
	{STAGE_RCPT, 552, LATER, SCOPE_RECIPIENT, .advice = ADVICE_SPLIT,
	    .text = "Too many recipients"},
	{STAGE_RCPT, 552, LATER, SCOPE_RECIPIENT, .advice = ADVICE_SPLIT,
	    .text = "5.5.3 Enough of them"},
	{STAGE_RCPT, 552, NEVER, SCOPE_RECIPIENT, .text =
	    "5.2.2 The mailbox is over its quota"},
	/* 8 */
	{STAGE_RCPT, 451, LATER, SCOPE_RECIPIENT, .advice = ADVICE_SPLIT,
	    .text =
	    "4.3.0 Multiple destination domains per transaction is "
	    "unsupported. 4.3.0 Please try again."},
	/* 9 */
	{STAGE_AUTH, 454, LATER, SCOPE_UPSTREAM, .pause = MINUTES(15), .text =
	    "4.7.0 Too many login attempts, please try again later. - gsmtp"},
	/* 10 */
	{STAGE_AUTH, 534, HOLD, SCOPE_UPSTREAM, .text =
	    "5.7.9 Application-specific password required. For more "
	    "information, go to 5.7.9 "
	    "https://support.google.com/mail/?p=InvalidSecondFactor"},
	/* 11 */
	{STAGE_AUTH, 535, HOLD, SCOPE_UPSTREAM, .text =
	    "5.7.8 Username and Password not accepted. For more information, "
	    "go to 5.7.8 https://support.google.com/mail/?p=BadCredentials"},
	{STAGE_AUTH, 535, HOLD, SCOPE_UPSTREAM, .text =
	    "5.7.8 Error: authentication failed: (reason unavailable)"},
	{STAGE_AUTH, 535, HOLD, SCOPE_UPSTREAM, .text =
	    "Authentication failed: Bad username / password"},
	{STAGE_AUTH, 535, HOLD, SCOPE_UPSTREAM, .text =
	    "5.7.0 (#AUTH005) Too many bad auth attempts."},
	/* 12 */
	{STAGE_END, 421, LATER, SCOPE_MESSAGE, .pause = HOURS(1), .text =
	    "4.7.28 Gmail has detected that this message exceeded its quota "
	    "for 4.7.28 sending messages with the same Message-ID. To best "
	    "protect our 4.7.28 users, the message has been temporarily "
	    "rejected."},
	{STAGE_END, 421, LATER, SCOPE_UPSTREAM, .pause = MINUTES(10), .text =
	    "4.7.28 Gmail has detected an unusual rate of email originating "
	    "from your 4.7.28 SPF domain."},
	/* 13 */
	{STAGE_MAIL, 421, LATER, SCOPE_MESSAGE, .advice = ADVICE_RECONNECT,
	    .text =
	    "4.7.0 Connection expired, try reconnecting. For more "
	    "information, go to 4.7.0 "
	    "https://support.google.com/a/answer/3221692"},
	{STAGE_RCPT, 451, LATER, SCOPE_RECIPIENT, .advice = ADVICE_RECONNECT,
	    .text =
	    "4.4.2 Timeout - closing connection. - gsmtp"},
	/* 14 */
	{STAGE_END, 550, NEVER, SCOPE_MESSAGE, .text =
	    "5.7.1 [192.0.2.1] Messages missing a valid address in From: "
	    "5.7.1 header, or having no From: header, are not accepted."},
	{STAGE_END, 550, NEVER, SCOPE_MESSAGE, .text =
	    "5.7.1 [192.0.2.1] Messages missing a valid Message-ID header are "
	    "not 5.7.1 accepted."},
	{STAGE_END, 550, NEVER, SCOPE_MESSAGE, .text =
	    "5.7.1 Messages with multiple addresses in From: header are not "
	    "accepted."},
	{STAGE_END, 550, NEVER, SCOPE_MESSAGE, .text =
	    "5.7.1 This message is not RFC 5322 compliant. There are multiple "
	    "Subject 5.7.1 headers."},
	{STAGE_END, 554, NEVER, SCOPE_MESSAGE, .text =
	    "Transaction failed: Duplicate header 'DKIM-Signature'."},
	/* 15 */
	{STAGE_END, 554, NEVER, SCOPE_MESSAGE, .text =
	    "5.4.6 Message exceeded 50 hops, this may indicate a mail loop."},
	{STAGE_END, 554, NEVER, SCOPE_MESSAGE, .text =
	    "5.4.0 Error: too many hops"},
	{STAGE_END, 554, NEVER, SCOPE_MESSAGE, .text =
	    "5.4.14 Hop count exceeded - possible mail loop ATTR34 "
	    "[AM0PR01MB1234.eurprd01.prod.outlook.com]"},
	{STAGE_RCPT, 554, NEVER, SCOPE_RECIPIENT, .text =
	    "5.4.6 mail for mx.example.com loops back to myself"},
	{STAGE_END, 554, NEVER, SCOPE_MESSAGE, .text =
	    "5.4.6 Possible mail loop, try again with fewer forwards"},
	{STAGE_END, 550, NEVER, SCOPE_MESSAGE, .text =
	    "Routing loop detected -- too many Received: headers"},
	/* 16 */
	{STAGE_MAIL, 451, LATER, SCOPE_MESSAGE, .advice = ADVICE_RECONNECT,
	    .text =
	    "4.4.2 Timeout waiting for data from client."},
	{STAGE_AUTH, 451, LATER, SCOPE_UPSTREAM, .advice = ADVICE_RECONNECT,
	    .text =
	    "4.4.2 Timeout waiting for data from client."},
	/* 17 */
	{STAGE_END, 454, LATER, SCOPE_UPSTREAM, .pause = SECONDS(5),
	    .pause_max = MINUTES(20), .text =
	    "Throttling failure: Maximum sending rate exceeded."},
	/* 18 */
	{STAGE_END, 454, HOLD, SCOPE_UPSTREAM, .pause = HOURS(1), .text =
	    "Throttling failure: Daily message quota exceeded."},
	/* 19 */
	{STAGE_END, 554, HOLD, SCOPE_SENDER, .pause = HOURS(1), .text =
	    "Message rejected: Email address is not verified. The following "
	    "identities failed the check in region EU-WEST-1: "
	    "root@web1.example.com"},
	/* 20 */
	{STAGE_END, 554, HOLD, SCOPE_SENDER, .pause = HOURS(1), .text =
	    "Access denied: User "
	    "`arn:aws:iam::123456789012:user/ses-smtp-user' is not authorized "
	    "to perform `ses:SendRawEmail' on resource "
	    "`arn:aws:ses:eu-west-1:123456789012:identity/web1.example.com'"},
	/* 21 */
	{STAGE_AUTH, 535, HOLD, SCOPE_UPSTREAM, .text =
	    "Authentication Credentials Invalid"},
	/* 22 */
	{STAGE_AUTH, 454, LATER, SCOPE_UPSTREAM, .text =
	    "Temporary authentication failure"},
	{STAGE_AUTH, 454, LATER, SCOPE_UPSTREAM, .text =
	    "4.7.0 Temporary authentication failure: Connection lost to "
	    "authentication server"},
	/* 23 */
	{STAGE_MAIL, 501, HOLD, SCOPE_SENDER, .pause = HOURS(1),
	    .advice = ADVICE_OTHER_SENDER, .text =
	    "Invalid MAIL FROM address provided"},
	/* 24 */
	{STAGE_BANNER, 421, LATER, SCOPE_UPSTREAM, .pause = MINUTES(1),
	    .pause_max = MINUTES(20), .text =
	    "Too many concurrent SMTP connections"},
	{STAGE_BANNER, 421, LATER, SCOPE_UPSTREAM, .pause = MINUTES(1),
	    .pause_max = MINUTES(20), .text =
	    "mail.example.com: Too many concurrent SMTP connections; please "
	    "try again later."},
	/* 25 */
	{STAGE_MAIL, 421, LATER, SCOPE_MESSAGE, .advice = ADVICE_RECONNECT,
	    .text =
	    "connection closed by server; too many messages in one session"},
	/* 26 */
	{STAGE_AUTH, 451, HOLD, SCOPE_UPSTREAM, .pause = HOURS(1), .text =
	    "Authentication failed: Maximum credits exceeded"},
	/* 27 */
	{STAGE_END, 550, HOLD, SCOPE_SENDER, .pause = HOURS(1), .text =
	    "The from address does not match a verified Sender Identity. Mail "
	    "cannot be sent until this error is resolved. Visit "
	    "https://sendgrid.com/docs/for-developers/sending-email/"
	    "sender-identity/ "
	    "to see the Sender Identity requirements"},
	{STAGE_END, 403, HOLD, SCOPE_SENDER, .pause = HOURS(1), .text =
	    "You are not authorized to send from that email address"},
	/* 28 */
	{STAGE_MAIL, 550, HOLD, SCOPE_UPSTREAM, .pause = HOURS(1), .text =
	    "Unauthenticated senders not allowed"},
	/* 29 */
	{STAGE_END, 421, HOLD, SCOPE_MESSAGE, .pause = HOURS(1), .text =
	    "Domain sandbox947896f1956b403197c80061aa04c9e4.mailgun.org is "
	    "not allowed to send: Sandbox subdomains are for test purposes "
	    "only. Please add your own domain or add the address to "
	    "authorized recipients in Account Settings."},
	/* 30; with a date, see below */
	{STAGE_DATA, 421, LATER, SCOPE_UPSTREAM, .pause = HOURS(1), .text =
	    "Domain mg.example.com is not allowed to send: recipient limit "
	    "exceeded"},
	/* 31 */
	{STAGE_DATA, 421, HOLD, SCOPE_UPSTREAM, .pause = HOURS(1), .text =
	    "Domain mg.example.com is not allowed to send: Account disabled"},
	{STAGE_DATA, 421, HOLD, SCOPE_UPSTREAM, .pause = HOURS(1), .text =
	    "Account disabled"},
	{STAGE_DATA, 421, HOLD, SCOPE_UPSTREAM, .pause = HOURS(1), .text =
	    "Domain mg.example.com is not allowed to send: You are sending "
	    "too fast. Your account is on probation and the account has been "
	    "temporarily disabled."},
	/* 32 */
	{STAGE_AUTH, 535, HOLD, SCOPE_UPSTREAM, .text =
	    "5.7.139 Authentication unsuccessful, SmtpClientAuthentication is "
	    "disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled "
	    "for more information. [FR3P281CA0123.DEUP281.PROD.OUTLOOK.COM "
	    "2026-11-22T09:00:00.000Z]"},
	/* 33 */
	{STAGE_AUTH, 535, HOLD, SCOPE_UPSTREAM, .text =
	    "5.7.139 Authentication unsuccessful, basic authentication is "
	    "disabled. [FR3P281CA0123.DEUP281.PROD.OUTLOOK.COM "
	    "2026-11-22T09:00:00.000Z]"},
	{STAGE_AUTH, 550, HOLD, SCOPE_UPSTREAM, .text =
	    "5.7.30 Basic authentication is not supported for Client "
	    "Submission."},
	{STAGE_MAIL, 550, HOLD, SCOPE_UPSTREAM, .text =
	    "5.7.30 Basic authentication is not supported for Client "
	    "Submission."},
	{STAGE_AUTH, 535, HOLD, SCOPE_UPSTREAM, .text =
	    "5.7.139 Authentication unsuccessful, the request did not meet "
	    "the criteria to be authenticated successfully. Contact your "
	    "administrator."},
	/* 34 */
	{STAGE_AUTH, 535, HOLD, SCOPE_UPSTREAM, .text =
	    "5.7.3 Authentication unsuccessful "
	    "[AM0PR01CA0123.eurprd01.prod.exchangelabs.com]"},
	/* 35 */
	{STAGE_AUTH, 504, HOLD, SCOPE_UPSTREAM,
	    .advice = ADVICE_OTHER_MECHANISM, .text =
	    "5.7.4 Unrecognized authentication type "
	    "[FR3P281CA0123.DEUP281.PROD.OUTLOOK.COM]"},
	{STAGE_AUTH, 538, HOLD, SCOPE_UPSTREAM,
	    .advice = ADVICE_OTHER_MECHANISM, .text =
	    "5.7.11 Encryption required for requested authentication "
	    "mechanism"},
	{STAGE_AUTH, 534, HOLD, SCOPE_UPSTREAM,
	    .advice = ADVICE_OTHER_MECHANISM, .text =
	    "5.7.9 Authentication mechanism is too weak"},
	/* 36 */
	{STAGE_MAIL, 530, HOLD, SCOPE_UPSTREAM, .pause = HOURS(1), .text =
	    "5.7.57 Client not authenticated to send mail. "
	    "[FR3P281CA0123.DEUP281.PROD.OUTLOOK.COM]"},
	{STAGE_MAIL, 535, HOLD, SCOPE_UPSTREAM, .pause = HOURS(1), .text =
	    "5.7.57 Client was not authenticated to send anonymous mail "
	    "during MAIL FROM"},
	/* 37 */
	{STAGE_MAIL, 451, HOLD, SCOPE_UPSTREAM, .pause = HOURS(1), .text =
	    "5.7.3 STARTTLS is required to send mail "
	    "[FR3P281CA0123.DEUP281.PROD.OUTLOOK.COM]"},
	/* 38 */
	{STAGE_AUTH, 432, LATER, SCOPE_UPSTREAM, .pause = MINUTES(1),
	    .pause_max = MINUTES(20), .text =
	    "4.3.2 Concurrent connections limit exceeded. Visit "
	    "https://aka.ms/concurrent_sending for more information."},
	{STAGE_END, 432, LATER, SCOPE_UPSTREAM, .pause = MINUTES(1),
	    .pause_max = MINUTES(20), .text =
	    "4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded; "
	    "[Hostname=AM0PR01MB1234.eurprd01.prod.exchangelabs.com]"},
	{STAGE_MAIL, 421, LATER, SCOPE_UPSTREAM, .pause = MINUTES(1),
	    .pause_max = MINUTES(20), .text =
	    "4.4.2 Message submission rate for this client has exceeded the "
	    "configured limit"},
	/* 39 */
	{STAGE_END, 554, HOLD, SCOPE_UPSTREAM, .pause = HOURS(1), .text =
	    "5.2.0 "
	    "STOREDRV.Submission.Exception:SubmissionQuotaExceededException; "
	    "Failed to process message due to a permanent exception with "
	    "message The message can't be submitted because the sender's "
	    "submission quota was exceeded."},
	/* 40 */
	{STAGE_END, 550, HOLD, SCOPE_SENDER, .pause = HOURS(1), .text =
	    "5.7.60 SMTP; Client does not have permissions to send as this "
	    "sender"},
	{STAGE_END, 554, HOLD, SCOPE_SENDER, .pause = HOURS(1), .text =
	    "5.2.252 SendAsDenied; noreply@example.com not allowed to send as "
	    "root@web1.example.com"},
	{STAGE_END, 554, HOLD, SCOPE_SENDER, .pause = HOURS(1), .text =
	    "5.2.0 "
	    "STOREDRV.Submission.Exception:SendAsDeniedException"
	    ".MapiExceptionSendAsDenied; "
	    "Failed to process message due to a permanent exception with "
	    "message Cannot submit message."},
	/* 41 */
	{STAGE_END, 430, HOLD, SCOPE_UPSTREAM, .pause = HOURS(1), .text =
	    "4.2.0 STOREDRV; mailbox logon failure; Failed to process message "
	    "due to a transient exception"},
	/* 42 */
	{STAGE_END, 554, HOLD, SCOPE_MESSAGE, .pause = HOURS(1), .text =
	    "5.2.2 mailbox full; "
	    "STOREDRV.Submission.Exception:QuotaExceededException"
	    ".MapiExceptionQuotaExceeded"},
	/* 43 */
	{STAGE_RCPT, 550, HOLD, SCOPE_UPSTREAM, .pause = HOURS(1), .text =
	    "5.7.68 TenantInboundAttribution; Direct Send not allowed for "
	    "this organization from unauthorized sources "
	    "[AM0PR01.eurprd01.prod.outlook.com]"},
	/* 44 */
	{STAGE_RCPT, 550, HOLD, SCOPE_UPSTREAM, .pause = HOURS(1), .text =
	    "5.7.64 TenantAttribution; Relay Access Denied "
	    "[AM0EUR02FT034.eop-EUR02.prod.protection.outlook.com]"},
	/* 45 */
	{STAGE_RCPT, 451, LATER, SCOPE_UPSTREAM, .pause = MINUTES(10), .text =
	    "4.7.500 Server busy. Please try again later from [192.0.2.1]. "
	    "(AS77712)"},
	{STAGE_RCPT, 451, LATER, SCOPE_UPSTREAM, .pause = MINUTES(10), .text =
	    "4.7.699 Access denied, please try again later"},
	{STAGE_MAIL, 451, LATER, SCOPE_UPSTREAM, .pause = MINUTES(10), .text =
	    "4.7.650 The mail server [192.0.2.1] has been temporarily rate "
	    "limited due to IP reputation. For e-mail delivery information, "
	    "see https://aka.ms/postmaster (S775)"},
	{STAGE_RCPT, 451, LATER, SCOPE_UPSTREAM, .pause = MINUTES(10), .text =
	    "4.7.850 Access denied, please try again later"},
	/* 46 */
	{STAGE_END, 550, HOLD, SCOPE_UPSTREAM, .pause = HOURS(1), .text =
	    "5.1.8 Access denied, bad outbound sender AS(42004)"},
	{STAGE_MAIL, 550, HOLD, SCOPE_UPSTREAM, .pause = HOURS(1), .text =
	    "5.7.705 Access denied, tenant has exceeded threshold"},
	{STAGE_MAIL, 550, HOLD, SCOPE_UPSTREAM, .pause = HOURS(1), .text =
	    "5.7.708 Service unavailable. Access denied, traffic not accepted "
	    "from this IP."},
	{STAGE_MAIL, 550, HOLD, SCOPE_SENDER, .pause = HOURS(1), .text =
	    "5.1.8 <a@x.example>: Sender address rejected: Domain not found"},
	/* 47 */
	{STAGE_END, 450, LATER, SCOPE_UPSTREAM, .pause = HOURS(1), .text =
	    "4.5.127 Message rejected. Excessive message rate from sender. "
	    "For more information see https://aka.ms/EXOSmtpErrors."},
	/* 48 */
	{STAGE_AUTH, 501, LATER, SCOPE_UPSTREAM, .text =
	    "5.5.127 Invalid XOAUTH2 auth data - Token will expire soon"},
	/* 49 */
	{STAGE_AUTH, 525, HOLD, SCOPE_UPSTREAM, .text =
	    "5.7.1 Unauthorized IP address"},
	/* 50 */
	{STAGE_DATA, 502, HOLD, SCOPE_UPSTREAM, .pause = HOURS(1), .text =
	    "5.7.0 Your SMTP account is not yet activated. Please contact us "
	    "at contact@sendinblue.com to request activation."},
	{STAGE_DATA, 450, HOLD, SCOPE_UPSTREAM, .pause = HOURS(1), .text =
	    "Your SMTP account is not yet activated. Please contact us at "
	    "contact@sendinblue.com to request activation."},
	/* 51 */
	{STAGE_END, 550, HOLD, SCOPE_SENDER, .pause = HOURS(1), .text =
	    "5.7.1 Unconfigured Sending Domain <app.example.com>"},
	/* 52 */
	{STAGE_END, 550, HOLD, SCOPE_SENDER, .pause = HOURS(1), .text =
	    "The example.com domain is not verified. Please, add and verify "
	    "your domain on https://resend.com/domains"},
	{STAGE_END, 550, NEVER, SCOPE_MESSAGE, .text =
	    "Invalid `from` field. The email address needs to follow the "
	    "`email@example.com` or `Name <email@example.com>` format."},
	/* 53 */
	{STAGE_BANNER, 421, LATER, SCOPE_UPSTREAM, .text =
	    "4.7.0 smtp.resend.com You talk too soon"},
	/* 54 */
	{STAGE_END, 550, HOLD, SCOPE_SENDER, .pause = HOURS(1), .text =
	    "From header sender domain not verified (example.com)"},
	{STAGE_RCPT, 550, HOLD, SCOPE_UPSTREAM, .pause = HOURS(1), .text =
	    "Relay access denied - please authenticate"},
	/* 55 */
	{STAGE_END, 550, HOLD, SCOPE_UPSTREAM, .pause = HOURS(1),
	    .pause_max = HOURS(6), .text =
	    "5.4.6 Unusual sending activity detected. Please try after "
	    "sometime. For more details, visit "
	    "https://mail.zoho.com/UnblockMe"},
	/* 56 */
	{STAGE_MAIL, 554, HOLD, SCOPE_UPSTREAM, .pause = HOURS(1), .text =
	    "5.1.8 Sender Address Blocked"},
	/* 57 */
	{STAGE_RCPT, 553, HOLD, SCOPE_SENDER, .pause = HOURS(1), .text =
	    "Relaying disallowed as root@web1.example.com"},
	/* 58 */
	{STAGE_END, 551, HOLD, SCOPE_SENDER, .pause = HOURS(1), .text =
	    "5.7.1 Not authorised to send from this header address"},
	/* 59 */
	{STAGE_MAIL, 553, HOLD, SCOPE_SENDER, .pause = HOURS(1), .text =
	    "5.7.1 Sender address rejected: not owned by auth user."},
	{STAGE_RCPT, 553, HOLD, SCOPE_SENDER, .pause = HOURS(1), .text =
	    "5.7.1 <root@web1.example.com>: Sender address rejected: not "
	    "owned by user app@example.com"},
	/* 60 */
	{STAGE_MAIL, 554, HOLD, SCOPE_UPSTREAM, .pause = HOURS(25), .text =
	    "5.7.1 Daily limit of messages is exceeded; "
	    "https://yandex.com/support/mail/web/letter/create/"
	    "send-many-letters.html"},
	/* 61 */
	{STAGE_MAIL, 550, HOLD, SCOPE_SENDER, .pause = HOURS(1), .text =
	    "5.7.0 From address is not one of your addresses"},
	{STAGE_RCPT, 550, HOLD, SCOPE_UPSTREAM, .pause = HOURS(1), .text =
	    "5.7.1 <a@x.example>: Recipient address rejected: You have "
	    "exceeded your daily sending limit. Please try again later"},
	/* 62 */
	{STAGE_RCPT, 454, HOLD, SCOPE_RECIPIENT, .pause = HOURS(1), .text =
	    "4.7.1 <a@x.example>: Relay access denied"},
	/* 63 */
	{STAGE_HELLO, 504, HOLD, SCOPE_UPSTREAM, .pause = HOURS(1), .text =
	    "5.5.2 <localhost>: Helo command rejected: need fully-qualified "
	    "hostname"},
	{STAGE_RCPT, 504, HOLD, SCOPE_UPSTREAM, .pause = HOURS(1), .text =
	    "5.5.2 <localhost>: Helo command rejected: need fully-qualified "
	    "hostname"},
	/* 64 */
	{STAGE_MAIL, 452, LATER, SCOPE_UPSTREAM, .text =
	    "4.3.1 Insufficient system resources"},
	{STAGE_MAIL, 452, LATER, SCOPE_UPSTREAM, .text =
	    "4.3.1 Insufficient system storage"},
	/* 65 */
	{STAGE_MAIL, 452, LATER, SCOPE_UPSTREAM, .pause = SECONDS(5),
	    .pause_max = MINUTES(20), .text =
	    "4.4.5 Messages per second limit exceeded"},
	{STAGE_MAIL, 452, HOLD, SCOPE_UPSTREAM, .pause = HOURS(1), .text =
	    "4.5.3 Daily message limit exceeded"},
	{STAGE_BANNER, 421, LATER, SCOPE_UPSTREAM, .pause = SECONDS(5),
	    .pause_max = MINUTES(20), .text =
	    "4.4.5 Too many connections from your IP"},
	/* 66 */
	{STAGE_BANNER, 554, HOLD, SCOPE_UPSTREAM, .pause = MINUTES(15),
	    .pause_max = HOURS(6), .text =
	    "Too many failed login requests from IP. Try again "
	    "later. #MS-ST-B"},
	/* 67 */
	{STAGE_MAIL, 552, NEVER, SCOPE_MESSAGE, .text =
	    "5.3.4 Message size exceeds fixed limit"},
	{STAGE_END, 552, NEVER, SCOPE_MESSAGE, .text = "Message is too long."},
	{STAGE_END, 552, NEVER, SCOPE_MESSAGE, .text =
	    "5.2.3 Your message exceeded Google's message size limits. For "
	    "more 5.2.3 information, visit"},
	/* 68 */
	{STAGE_RCPT, 550, NEVER, SCOPE_RECIPIENT, .text =
	    "5.1.1 <a@x.example>: Recipient address rejected: User unknown in "
	    "virtual mailbox table"},
	{STAGE_RCPT, 550, NEVER, SCOPE_RECIPIENT, .text =
	    "5.1.1 The email account that you tried to reach does not exist. "
	    "Please try 5.1.1 double-checking the recipient's email address"},
	{STAGE_RCPT, 550, NEVER, SCOPE_RECIPIENT, .text =
	    "5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by "
	    "SMTP address lookup"},
	/* 69 */
	{STAGE_RCPT, 550, NEVER, SCOPE_RECIPIENT, .text =
	    "5.2.1 Not sending to previously bounced email - ImprovMX "
	    "v2026.09.24"},
	{STAGE_RCPT, 550, NEVER, SCOPE_RECIPIENT, .text =
	    "5.1.1 a@x.example is on the suppression list"},

	/* the words of a relay that nobody has listed */
	{STAGE_END, 550, HOLD, SCOPE_MESSAGE, .pause = HOURS(1), .text =
	    "Failure sending mail. Try again later."},
	{STAGE_END, 554, HOLD, SCOPE_MESSAGE, .pause = HOURS(1), .text =
	    "5.7.1 sorry, too many emails (#5.7.1)"},
	{STAGE_RCPT, 550, HOLD, SCOPE_RECIPIENT, .pause = HOURS(1), .text =
	    "5.7.1 Rate limit exceeded for your plan"},
	{STAGE_END, 553, HOLD, SCOPE_MESSAGE, .pause = HOURS(1), .text =
	    "Hourly quota used up"},
	{STAGE_END, 550, HOLD, SCOPE_UPSTREAM, .pause = HOURS(1), .text =
	    "5.7.1 Exceed Sending Limit"},
	{STAGE_MAIL, 554, HOLD, SCOPE_UPSTREAM, .pause = HOURS(1), .text =
	    "This account was not activated"},
	{STAGE_RCPT, 550, HOLD, SCOPE_UPSTREAM, .pause = HOURS(1), .text =
	    "5.7.1 This mailbox has reached its sending limit"},
	/* a full mailbox of the recipient */
	{STAGE_RCPT, 550, NEVER, SCOPE_RECIPIENT, .text =
	    "5.2.2 <a@x.example>: quota exceeded, try again later"},
	{STAGE_END, 554, NEVER, SCOPE_MESSAGE, .text =
	    "5.2.2 mailbox full; "
	    "STOREDRV.Deliver.Exception:QuotaExceededException"
	    ".MapiExceptionShutoffQuotaExceeded"},
};

static void
check_known(const struct known_case *t)
{
	struct verdict v;

	memset(&v, 0xa5, sizeof(v));
	reply_judge(&v, t->stage, t->code, t->text);
	if (v.outcome != t->outcome || v.scope != t->scope)
		fail_msg("%d %s: %s, scope %d", t->code, t->text,
		    outcome_name(v.outcome), (int)v.scope);
	if (v.pause != t->pause || v.pause_max != t->pause_max ||
	    v.advice != t->advice)
		fail_msg("%d %s: pause %lld to %lld, advice %d", t->code,
		    t->text, (long long)v.pause, (long long)v.pause_max,
		    (int)v.advice);
	if (!v.hint || !*v.hint)
		fail_msg("%d %s: no hint", t->code, t->text);
	if (reply_hint(t->code, t->text) != v.hint)
		fail_msg("%d %s: another hint by the text alone: %s", t->code,
		    t->text, reply_hint(t->code, t->text));
}

static void
test_known(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(known_cases); i++)
		check_known(&known_cases[i]);
}

/* Providers change the case and what surrounds their words. */
static void
test_case_and_surroundings(void **state)
{
	char text[1000];

	(void)state;
	for (size_t i = 0; i < COUNT(known_cases); i++) {
		struct known_case t = known_cases[i];
		size_t len = reply_enhanced(t.text);

		snprintf(text, sizeof(text), "%s (see %.*s) indeed", t.text,
		    (int)len, t.text);
		for (char *c = text; *c; c++)
			if (i % 2 && *c >= 'a' && *c <= 'z')
				*c -= 'a' - 'A';
		t.text = text;
		check_known(&t);
	}
}

/* Each row of the catalogue is there for at least one of the texts above. */
static void
test_every_row_is_met(void **state)
{
	(void)state;
	for (const struct known_reply *row = catalogue; row->codes; row++) {
		bool met = row->outcome == NEVER && !row->hint;

		for (size_t i = 0; i < COUNT(known_cases) && !met; i++)
			met = catalogue_find(AT(known_cases[i].stage),
			    known_cases[i].code, known_cases[i].text) == row;
		if (!met)
			fail_msg("%s %s %s", row->codes,
			    row->status ? row->status : "",
			    row->words ? row->words : "");
	}
}

/* What the table must be for apply() to do no harm. */
static void
test_rows_are_sane(void **state)
{
	(void)state;
	for (const struct known_reply *row = catalogue; row->codes; row++) {
		bool early = row->stages & (AT(STAGE_MAIL) - 1);

		assert_true(row->outcome == LATER || row->outcome == HOLD ||
		    row->outcome == NEVER);
		assert_false(early && (row->outcome == NEVER ||
		    row->scope == SCOPE_SENDER));
		assert_true(row->hint || row->outcome == NEVER);
		assert_true(row->codes[0] && (row->status || row->words));
		for (const char *c = row->words; c && *c; c++)
			assert_false(*c >= 'A' && *c <= 'Z');
	}
}

/* What sounds like one of them and is as final as its code, or as passing. */
static const struct known_case plain_cases[] = {
	/* sizes */
	{STAGE_MAIL, 552, NEVER, SCOPE_MESSAGE, .text =
	    "5.3.4 Message size limit exceeded"},
	{STAGE_END, 552, NEVER, SCOPE_MESSAGE, .text =
	    "Message size limit exceeded"},
	{STAGE_END, 554, NEVER, SCOPE_MESSAGE, .text =
	    "5.3.4 limit exceeded, try again with less"},
	/* recipients */
	{STAGE_RCPT, 550, NEVER, SCOPE_RECIPIENT, .text =
	    "5.1.1 <daily-limit@x.example>: not verified, try again"},
	{STAGE_RCPT, 553, NEVER, SCOPE_RECIPIENT, .text =
	    "5.1.2 We weren't able to find the recipient domain, too many "
	    "tries"},
	{STAGE_RCPT, 553, NEVER, SCOPE_RECIPIENT, .text =
	    "5.1.3 quota is no address"},
	{STAGE_RCPT, 552, NEVER, SCOPE_RECIPIENT, .text =
	    "5.2.2 The email account that you tried to reach is over quota."},
	{STAGE_RCPT, 550, NEVER, SCOPE_RECIPIENT, .text =
	    "Mailbox quota exceeded, try again later"},
	{STAGE_RCPT, 452, LATER, SCOPE_RECIPIENT, .text =
	    "4.2.2 The email account that you tried to reach is over quota."},
	{STAGE_RCPT, 450, LATER, SCOPE_RECIPIENT, .text =
	    "4.2.1 The user you are trying to contact is receiving mail at a "
	    "rate that prevents additional messages from being delivered."},
	{STAGE_RCPT, 550, NEVER, SCOPE_RECIPIENT, .text =
	    "5.7.1 <a@x.example>: Relay access denied"},
	{STAGE_RCPT, 550, NEVER, SCOPE_RECIPIENT, .text =
	    "5.7.1 Unable to relay"},
	{STAGE_RCPT, 550, NEVER, SCOPE_RECIPIENT, .text =
	    "relay not permitted"},
	/* their names are not the relay's words */
	{STAGE_RCPT, 550, NEVER, SCOPE_RECIPIENT, .text =
	    "<quota@x.example> unknown"},
	{STAGE_RCPT, 550, NEVER, SCOPE_RECIPIENT, .text =
	    "5.7.1 <try.again.daily.limit@x.example>: no"},
	/* syntax, content, policy */
	{STAGE_END, 554, NEVER, SCOPE_MESSAGE, .text = "5.5.0 too many errors"},
	{STAGE_RCPT, 550, NEVER, SCOPE_RECIPIENT, .text =
	    "5.5.3 RESOLVER.ADR.RecipLimit; too many recipients"},
	{STAGE_END, 550, NEVER, SCOPE_MESSAGE, .text =
	    "5.6.0 too many parts, quota of lines"},
	{STAGE_END, 550, NEVER, SCOPE_MESSAGE, .text =
	    "5.6.11 SMTPSEND.BareLinefeedsAreIllegal"},
	{STAGE_END, 554, NEVER, SCOPE_MESSAGE, .text =
	    "5.7.1 Message rejected under suspicion of SPAM; "
	    "https://ya.cc/1IrBc"},
	{STAGE_END, 550, NEVER, SCOPE_MESSAGE, .text =
	    "5.7.26 Unauthenticated email from x.example is not accepted due "
	    "to domain's DMARC policy."},
	/* a code that is not believed less than its text */
	{STAGE_END, 552, NEVER, SCOPE_MESSAGE, .text =
	    "too many parts, try again"},
	{STAGE_END, 571, NEVER, SCOPE_MESSAGE, .text = "quota"},
	/* at another stage, or with another code */
	{STAGE_END, 452, LATER, SCOPE_MESSAGE, .text =
	    "4.5.3 too many recipients"},
	{STAGE_END, 452, LATER, SCOPE_MESSAGE, .text =
	    "4.3.1 Insufficient system storage"},
	{STAGE_RCPT, 451, LATER, SCOPE_RECIPIENT, .text = "4.7.499 x"},
	{STAGE_RCPT, 451, LATER, SCOPE_RECIPIENT, .text = "4.7.700 x"},
	{STAGE_RCPT, 451, LATER, SCOPE_RECIPIENT, .text = "4.7.5000 x"},
	{STAGE_RCPT, 550, NEVER, SCOPE_RECIPIENT, .text = "5.4.50 x"},
	{STAGE_RCPT, 550, NEVER, SCOPE_RECIPIENT, .text = "5.7.6 x"},
	{STAGE_RCPT, 550, NEVER, SCOPE_RECIPIENT, .text = "5.7.706 x"},
	{STAGE_RCPT, 550, NEVER, SCOPE_RECIPIENT, .text = "see 5.4.5 for that"},
	{STAGE_MAIL, 454, LATER, SCOPE_MESSAGE, .text = "4.7.1 not now"},
	/* shops and hopes are no hops */
	{STAGE_END, 550, NEVER, SCOPE_MESSAGE, .text =
	    "5.7.1 we hope that the shop.example is well"},
	/* final is what the code says (rule 5), however final it sounds */
	{STAGE_RCPT, 503, LATER, SCOPE_RECIPIENT, .text = "5.1.1 no such user"},
	{STAGE_END, 451, LATER, SCOPE_MESSAGE, .text = "5.1.1 no such user"},
	{STAGE_END, 421, LATER, SCOPE_MESSAGE, .text = "Message is too long."},
};

static void
test_plain(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(plain_cases); i++) {
		const struct known_case *t = &plain_cases[i];
		struct verdict v;

		reply_judge(&v, t->stage, t->code, t->text);
		if (v.outcome != t->outcome || v.scope != t->scope ||
		    v.pause || v.advice)
			fail_msg("%d %s: %s, scope %d, pause %lld", t->code,
			    t->text, outcome_name(v.outcome), (int)v.scope,
			    (long long)v.pause);
	}
}

/* It sounds curable, and a login or an order is wrong: the rule stands. */
static void
test_rule_is_kept(void **state)
{
	struct verdict v;

	(void)state;
	for (enum stage stage = STAGE_MAIL; stage <= STAGE_END; stage++) {
		reply_judge(&v, stage, 530, "5.5.1 too many hops");
		assert_int_equal(v.outcome, HOLD);
		assert_int_equal(v.scope, SCOPE_UPSTREAM);
		reply_judge(&v, stage, 535, "5.1.1 who are you?");
		assert_int_equal(v.outcome, HOLD);
		assert_int_equal(v.scope, SCOPE_UPSTREAM);
	}
}

/* Before MAIL nothing is final and all is the upstream's, whatever it says. */
static void
test_before_mail(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(known_cases); i++)
		for (enum stage s = STAGE_CONNECT; s < STAGE_MAIL; s++) {
			struct verdict v;

			reply_judge(&v, s, known_cases[i].code,
			    known_cases[i].text);
			assert_int_not_equal(v.outcome, NEVER);
			assert_int_equal(v.scope, SCOPE_UPSTREAM);
		}
}

/* A yes is one, whatever it says. */
static void
test_a_yes(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(known_cases); i++) {
		struct verdict v;

		reply_judge(&v, STAGE_END, 250, known_cases[i].text);
		assert_int_equal(v.outcome, SENT);
		assert_int_equal(v.pause, 0);
		assert_null(v.hint);
	}
}

static void
test_hint_by_text(void **state)
{
	(void)state;
	assert_non_null(reply_hint(530, "5.7.0 Must issue a STARTTLS command"));
	assert_non_null(reply_hint(535, "5.7.8 no"));
	assert_non_null(reply_hint(550, "5.7.8 no"));
	assert_null(reply_hint(550, "5.7.1 no"));
	assert_null(reply_hint(451, "4.7.1 Greylisted"));
	assert_null(reply_hint(421, "4.3.2 bye"));
	assert_null(reply_hint(0, "connect: refused"));
	assert_null(reply_hint(0, ""));
	assert_null(reply_hint(550, ""));
	assert_null(reply_hint(250, "2.0.0 daily limit exceeded"));
}

/* Mailgun names the time: the pause when it is that many seconds ahead. */
static int64_t
pause_until(int64_t ahead, bool weekday, const char *zone)
{
	time_t when = time(NULL) + (time_t)ahead;
	char date[100], text[300];
	struct verdict v;
	struct tm tm;

	gmtime_r(&when, &tm);
	assert_true(strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S",
	    &tm) > 0);
	snprintf(text, sizeof(text), "Domain mg.example.com is not allowed to "
	    "send: recipient limit exceeded, try again after %s %s",
	    date + (weekday ? 0 : strlen("Sun, ")), zone);
	reply_judge(&v, STAGE_DATA, 421, text);
	assert_int_equal(v.outcome, LATER);
	assert_int_equal(v.scope, SCOPE_UPSTREAM);
	return v.pause;
}

static void
test_named_time(void **state)
{
	static const char *const zones[] = {
		"UTC ", "GMT", "+0000 (UTC)", "-0000."};
	static const int ahead[] = {20, 600, 7200, 86400};

	(void)state;
	for (size_t i = 0; i < COUNT(zones); i++)
		for (size_t k = 0; k < 2 * COUNT(ahead); k++)
			assert_in_range(pause_until(ahead[k / 2], k % 2,
			    zones[i]), SECONDS(ahead[k / 2] - 10),
			    SECONDS(ahead[k / 2]));
	assert_in_range(pause_until(6000, true, "+0130"), SECONDS(590),
	    SECONDS(600));
	assert_in_range(pause_until(0, true, "-0800"), SECONDS(28790),
	    SECONDS(28800));
	/* never more than 25 hours */
	assert_int_equal(pause_until(26 * 3600, true, "UTC"), HOURS(25));
	assert_int_equal(pause_until(INT64_C(100000) * 86400, true, "UTC"),
	    HOURS(25));
}

static void
test_no_sane_time(void **state)
{
	static const char *const dates[] = {"", "soon", "Mon", "1", "tomorrow",
		"Sun, 05 Oct 2025 19:22:44 UTC", "Sun, 05 Oct 2025 19:22:44",
		"Sun, 05 Oct 2999 19:22:44 PDT", "Sun, 05 Oct 2999 19:22:44 +1",
		"Sun, 05 Oct 2999 19:22:44 +00000",
		"Sun, 45 Oct 2999 19:22:44 UTC",
		"Sun, 05 Xxx 2999 19:22:44 UTC", "2999-10-05T19:22:44Z",
		"Sun, 05 Oct -999 19:22:44 UTC", "%s%n"};

	(void)state;
	for (size_t i = 0; i < COUNT(dates); i++) {
		char text[300];
		struct verdict v;

		snprintf(text, sizeof(text), "Domain mg.example.com is not "
		    "allowed to send: recipient limit exceeded, try again "
		    "after %s", dates[i]);
		reply_judge(&v, STAGE_DATA, 421, text);
		if (v.pause != HOURS(1))
			fail_msg("%s: %lld", dates[i], (long long)v.pause);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_case_and_surroundings),
		cmocka_unit_test(test_every_row_is_met),
		cmocka_unit_test(test_rows_are_sane),
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_rule_is_kept),
		cmocka_unit_test(test_before_mail),
		cmocka_unit_test(test_a_yes),
		cmocka_unit_test(test_hint_by_text),
		cmocka_unit_test(test_named_time),
		cmocka_unit_test(test_no_sane_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
